import assert from 'node:assert/strict';
import { test } from 'node:test';
import { request } from 'undici';
import { until } from '../../test/rig/until.ts';
import { BASIC } from '../registry/registry-fixture.ts';
import { bytesOf, Origin, startPullHub } from './pull-fixture.ts';
import { INGESTS_MAX } from './pull-constants.ts';

const TIMEOUT_MS = 15_000;
const ASKED = INGESTS_MAX + 10;

test('an upstream that never answers leaves room for blobs of the others', async (t) => {
  const [honest, silent] = await Promise.all([
    Origin.start(t, 'docker.io'),
    Origin.start(t, 'silent.example'),
  ]);
  silent.blobFault = () => true;
  const digest = honest.putBlob('library/app', bytesOf(1000));
  const { hub } = await startPullHub(t, [honest, silent]);
  const stop = new AbortController();
  t.after(() => stop.abort());
  const told = { refused: 0 };
  for (let i = 0; i < ASKED; i += 1) {
    const blob = silent.putBlob('team/app', bytesOf(1000, String(i)));
    request(`${hub.url}/v2/silent.example/team/app/blobs/${blob}`, {
      headers: { authorization: BASIC },
      signal: stop.signal,
    })
      .then(({ statusCode }) => void (told.refused += Number(statusCode === 503)))
      .catch(() => undefined);
  }
  await until('all were asked for', TIMEOUT_MS, async () => {
    const running = await hub.metric('upstream_ingests_running');
    return running + told.refused >= ASKED ? true : undefined;
  });
  const other = await hub.ask(`/v2/docker.io/library/app/blobs/${digest}`);
  assert.equal(other.status, 200);
  assert.ok(told.refused > 0 && told.refused < ASKED, `${told.refused} were refused`);
});
