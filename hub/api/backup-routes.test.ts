import assert from 'node:assert/strict';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { HOLD_MS } from '../backup/constants.ts';
import { BackupService } from '../backup/service.ts';
import type { CatalogSnapshot, TablePage } from '../backup/store.ts';
import { backupRoutes } from './backup-routes.ts';
import { RawAnswer } from './route.ts';

const never = () => assert.fail('not asked for');
const ROW = ['a repository'.repeat(1000)];

async function* endless(): AsyncGenerator<TablePage> {
  for (;;) yield { table: 'repository', columns: ['name'], rows: [ROW] };
}

/** A hub whose catalog has no end; `closed` resolves when nobody reads it any more. */
function serviceOf() {
  const { promise: closed, resolve: close } = Promise.withResolvers<void>();
  const snapshot: CatalogSnapshot = {
    schema: 1,
    pages: endless,
    [Symbol.asyncDispose]: async () => close(),
  };
  const backups = new BackupService({
    catalog: { snapshot: async () => snapshot },
    blobs: { stat: async () => undefined, open: async () => undefined },
    hasBlobs: true,
    hold: { hold: async () => {}, keepHold: async () => true, endHold: async () => {} },
    fleet: { fleetId: 'fleet-1', rootFingerprint: '' },
    build: '0.1.0',
  });
  return { backups, closed };
}

test('a catalog that nobody takes any more is not kept open', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { backups, closed } = serviceOf();
  const routes = backupRoutes({ backups, uplink: { enter: never }, callerOf: never });
  const catalog = routes.find(({ path }) => path.endsWith('/catalog'));
  const identity = { subject: { kind: 'admin' }, epoch: '' } as const;
  const params = { backup: 'id' };
  const answer = await catalog?.run({ identity, params, query: {}, body: Buffer.alloc(0) });
  assert.ok(answer instanceof RawAnswer);
  const request = new IncomingMessage(new Socket());
  const response = new ServerResponse(request);
  const { signal } = new AbortController();
  const writing = assert.rejects(answer.write({ request, response, signal }), /aborted/);
  while (!response.writableNeedDrain) await new Promise(setImmediate);
  t.mock.timers.tick(HOLD_MS);
  await writing;
  await closed;
});
