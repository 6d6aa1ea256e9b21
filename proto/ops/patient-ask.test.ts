import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AdminRequest } from './admin-commands.ts';
import { AdminError } from './join-token-request.ts';
import { patientAsk } from './patient-ask.ts';

const REQUEST: AdminRequest = { method: 'GET', path: '/api/v1/x' };
const url = 'https://hub.test';
const AWAY = new AdminError('away', { code: 'HUB_UNREACHABLE', url });
const BUSY = new AdminError('busy', { code: 'HUB_REFUSED', url, status: 503 });
const REFUSED = new AdminError('no', { code: 'HUB_REFUSED', url, status: 404 });

/** Answers in this order. */
function asking(...answers: (Error | string)[]): (request: AdminRequest) => Promise<unknown> {
  const left = [...answers];
  const ask = async (): Promise<unknown> => {
    const answer = left.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return patientAsk(ask, { awayMs: 60_000, stepMs: 0 });
}

test('whoever waits for something goes on when the hub is there again', async () => {
  const ask = asking('first', AWAY, BUSY, AWAY, 'second', REFUSED);
  assert.equal(await ask(REQUEST), 'first');
  assert.equal(await ask(REQUEST), 'second');
  await assert.rejects(ask(REQUEST), REFUSED);
});

test('a hub that has never answered is not waited for, nor one that stays away', async () => {
  await assert.rejects(asking(AWAY, 'late')(REQUEST), AWAY);
  const ask = patientAsk(
    async ({ path }) => {
      if (path === '/first') return 'first';
      throw AWAY;
    },
    { awayMs: 0, stepMs: 0 },
  );
  await ask({ method: 'GET', path: '/first' });
  await assert.rejects(ask(REQUEST), AWAY);
});
