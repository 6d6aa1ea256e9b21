import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REFUSED_ENROLMENT_LOG_MS } from './constants.ts';
import { TestAgent, TestHub } from './fleet-fixture.ts';

const WARN = 40;

test('refused enrolments fill no log: one line in a while says how many', async (t) => {
  const hub = await TestHub.start(t);
  const token = `flotilla-join.v1.${'a'.repeat(12)}.${'b'.repeat(43)}.${'0'.repeat(64)}`;
  const refuse = async (times: number): Promise<void> => {
    for (let n = 0; n < times; n += 1) {
      const reply = await hub.enrol(new TestAgent(), `node-${n}`, { token });
      assert.equal(reply.code, 'TOKEN_INVALID');
    }
  };
  const told = () =>
    hub.logs.filter(({ msg, level }) => msg === 'enrolment refused' && Number(level) >= WARN);
  await refuse(20);
  assert.deepEqual(
    told().map(({ refused, node }) => ({ refused, node })),
    [{ refused: 1, node: 'node-0' }],
  );
  hub.wait(REFUSED_ENROLMENT_LOG_MS);
  await refuse(3);
  assert.equal(told().length, 2);
  assert.equal(told()[1]?.['refused'], 20);
});
