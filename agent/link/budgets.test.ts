import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { LinkBudgets, type CardReader } from './budgets.ts';

const GIGABIT = 125_000_000;
const DEFAULTS = { peersUp: 0.8, peersDown: 1, source: 1, prefetch: 0.5 };

/** A card of this speed on which a test moves the bytes. */
function cardOf(bytesPerSecond: number | undefined) {
  const traffic = { sent: 0, received: 0 };
  const reader: CardReader = {
    card: async () => ({ name: 'eth0', bytesPerSecond }),
    traffic: async () => ({ ...traffic }),
  };
  return { traffic, reader };
}

async function opened(config: typeof DEFAULTS & { link?: number }, reader: CardReader) {
  const logged: string[] = [];
  const write = (line: string): void => void logged.push(line);
  const logger = createLogger({ level: 'info', name: 'test' }, { write });
  const metrics = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const link = await LinkBudgets.open(config, { metrics, logger, reader });
  return { link, logged: logged.join(''), metrics };
}

it('gives peers a part of the card by default, and does not bound readers', async () => {
  const { link, metrics } = await opened(DEFAULTS, cardOf(GIGABIT).reader);
  using own = link;
  assert.equal(own.budgets.peersUp?.bytesPerSecond, 0.8 * GIGABIT);
  assert.equal(own.budgets.peersDown, undefined);
  assert.equal(own.budgets.source, undefined);
  assert.equal(own.budgets.prefetch?.bytesPerSecond, 0.5 * GIGABIT);
  const text = await metrics.text();
  assert.match(text, /link_rate_bytes 125000000/);
  assert.match(text, /budget_rate_bytes\{way="peers_up"\} 100000000/);
  assert.match(text, /budget_rate_bytes\{way="source"\} 0/);
});

it('bounds nothing on a link of unknown speed, and says so', async () => {
  const { link, logged, metrics } = await opened(DEFAULTS, cardOf(undefined).reader);
  using own = link;
  assert.deepEqual(Object.values(own.budgets), Array.from({ length: 4 }));
  assert.match(logged, /speed of the link unknown, nothing is bounded; see bandwidth.link/);
  assert.match(await metrics.text(), /link_rate_bytes 0/);
});

it('keeps to a configured link, whatever the card says and whoever uses it', async () => {
  const { reader, traffic } = cardOf(GIGABIT);
  const { link } = await opened({ ...DEFAULTS, link: 2_000_000, source: 0.5 }, reader);
  using own = link;
  const { peersUp, peersDown, source } = own.budgets;
  for (let second = 0; second < 5; second += 1) {
    peersUp?.take(1_600_000);
    traffic.sent += 1_600_000;
    // oxlint-disable-next-line no-await-in-loop -- one look after the other
    await own.look(second * 1000);
  }
  assert.equal(peersUp?.bytesPerSecond, 1_600_000);
  assert.equal(peersDown?.bytesPerSecond, 2_000_000);
  assert.equal(source?.bytesPerSecond, 1_000_000);
});

it('lets peers have the link while nobody else needs it, and takes it back then', async () => {
  const { reader, traffic } = cardOf(GIGABIT);
  const { link } = await opened(DEFAULTS, reader);
  using own = link;
  const { peersUp } = own.budgets;
  assert.ok(peersUp);
  let nowMs = 0;
  const seconds = async (count: number, others: number): Promise<void> => {
    for (let n = 0; n < count; n += 1, nowMs += 1000) {
      const sent = peersUp.bytesPerSecond;
      peersUp.take(sent);
      traffic.sent += sent + others;
      // oxlint-disable-next-line no-await-in-loop -- one look after the other
      await own.look(nowMs);
    }
  };
  await seconds(3, 0);
  assert.ok(peersUp.bytesPerSecond > 0.95 * GIGABIT, 'alone it has all of the link');
  await seconds(10, 0.1 * GIGABIT);
  assert.ok(Math.abs(peersUp.bytesPerSecond / GIGABIT - 0.87) < 0.01, 'and what others leave');
  await seconds(10, 0.6 * GIGABIT);
  assert.equal(peersUp.bytesPerSecond, 0.8 * GIGABIT, 'but its part in any case');
});
