import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../proto/ops/config.ts';
import { startHub } from '../hub.ts';
import { HubOptions } from '../options.ts';
import { createLogger } from '../../proto/ops/logger.ts';

test('a hub whose registry has files that cannot be read says so at the start', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-replication-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const [missing, empty] = [path.join(folder, 'missing'), path.join(folder, 'empty')];
  await writeFile(empty, '\n');
  const registry = { name: 'other', url: 'http://127.0.0.1:9', username: 'ops' };
  const start = (fields: object): Promise<unknown> => {
    const sections = {
      hub: { dataDir: path.join(folder, 'data') },
      http: { listen: ['127.0.0.1:0'] },
      ops: { listen: ['127.0.0.1:0'] },
      replication: { registries: [{ ...registry, ...fields }] },
    };
    const config = loadConfig(HubOptions, { text: JSON.stringify(sections), env: {} });
    return startHub(config, { logger: createLogger({ level: 'silent', name: 'hub' }) });
  };
  const refused = (fields: object, message: RegExp): Promise<void> =>
    assert.rejects(start(fields), { code: 'CONFIG_INVALID', message });
  const key = String.raw`replication\.registries\[0\]`;
  await refused(
    { passwordFile: missing },
    new RegExp(`${key}\\.passwordFile.*${missing} cannot be read`),
  );
  await refused({ passwordFile: empty }, new RegExp(`${key}\\.passwordFile.*has no password`));
  await refused(
    { password: 'secret', caFile: missing },
    new RegExp(`${key}\\.caFile.*${missing} cannot be read`),
  );
});
