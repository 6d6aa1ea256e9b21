import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { nextTime, parseCron } from './cron.ts';

const MINUTE_MS = 60_000;

function next(cron: string, after: string): string | undefined {
  const ms = nextTime(parseCron(cron), Date.parse(after));
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

test('times come as crontab(5) says, in UTC', () => {
  const cases: [string, string, string][] = [
    ['* * * * *', '2026-03-01T10:00:00Z', '2026-03-01T10:01:00.000Z'],
    ['*/15 * * * *', '2026-03-01T10:50:30Z', '2026-03-01T11:00:00.000Z'],
    ['30 4 1,15 * *', '2026-03-15T04:30:00Z', '2026-04-01T04:30:00.000Z'],
    ['0 22 * * 1-5', '2026-03-06T22:00:00Z', '2026-03-09T22:00:00.000Z'],
    ['0 0 * * sun', '2026-03-01T00:00:00Z', '2026-03-08T00:00:00.000Z'],
    ['0 0 * * 7', '2026-03-01T00:00:00Z', '2026-03-08T00:00:00.000Z'],
    // Either day will do when both are named.
    ['0 0 13 * fri', '2026-03-01T00:00:00Z', '2026-03-06T00:00:00.000Z'],
    ['0 12 31 * *', '2026-04-01T00:00:00Z', '2026-05-31T12:00:00.000Z'],
    ['5 0 * aug *', '2026-08-31T00:05:00Z', '2027-08-01T00:05:00.000Z'],
    ['0 0 29 2 *', '2096-03-01T00:00:00Z', '2104-02-29T00:00:00.000Z'],
    // The first of April is a Thursday again after eleven years.
    ['0 0 */21 4 4', '2038-04-22T00:59:00Z', '2049-04-01T00:00:00.000Z'],
    ['10/20 3 * * *', '2026-01-01T03:10:00Z', '2026-01-01T03:30:00.000Z'],
    ['@monthly', '2026-12-02T00:00:00Z', '2027-01-01T00:00:00.000Z'],
  ];
  for (const [cron, after, wanted] of cases) assert.equal(next(cron, after), wanted, cron);
});

test('what is no time, or never comes, is refused with the reason', () => {
  const cases: [string, RegExp][] = [
    ['* * * *', /five fields/],
    ['60 * * * *', /"60" is no minute, which is 0 to 59/],
    ['* * 0 * *', /"0" is no day of the month/],
    ['* * * * fry', /"fry" is no day of the week/],
    ['5-1 * * * *', /"5-1"/],
    ['*/0 * * * *', /"0"/],
    ['1-2-3 * * * *', /"1-2-3"/],
    ['0 0 31 2,4 *', /never comes/],
    ['', /five fields/],
    ['1'.repeat(300), /255 characters/],
  ];
  for (const [cron, message] of cases) {
    assert.throws(() => parseCron(cron), { code: 'CRON_INVALID', message }, cron);
  }
});

const number = (min: number, max: number) => fc.integer({ min, max }).map(String);
const field = (min: number, max: number) =>
  fc.oneof(
    fc.constant('*'),
    number(min, max),
    fc.array(number(min, max), { minLength: 1, maxLength: 4 }).map((all) => all.join(',')),
    number(1, max).map((step) => `*/${step}`),
    fc
      .tuple(fc.integer({ min, max }), fc.integer({ min, max }))
      .map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
  );

test('the next time fits, is the first that does, and comes again after itself', () => {
  const crons = fc.tuple(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6));
  const times = fc.integer({ min: Date.UTC(2020, 0, 1), max: Date.UTC(2090, 0, 1) });
  fc.assert(
    fc.property(crons, times, (fields, afterMs) => {
      const cron = parseCron(fields.join(' '));
      const at = nextTime(cron, afterMs);
      assert.ok(at !== undefined && at > afterMs && at % MINUTE_MS === 0);
      assert.ok(fits(cron, at), 'it fits');
      // What lies between is not looked at minute by minute further than a day.
      const from = Math.max(Math.floor(afterMs / MINUTE_MS) * MINUTE_MS, at - 86_400_000);
      for (let ms = from + MINUTE_MS; ms < at; ms += MINUTE_MS) {
        assert.ok(!fits(cron, ms), `${new Date(ms).toISOString()} is before it`);
      }
    }),
    { numRuns: 200 },
  );
});

function fits(cron: ReturnType<typeof parseCron>, ms: number): boolean {
  const at = new Date(ms);
  const day = cron.days.has(at.getUTCDate());
  const weekday = cron.weekdays.has(at.getUTCDay());
  return (
    cron.minutes.has(at.getUTCMinutes()) &&
    cron.hours.has(at.getUTCHours()) &&
    cron.months.has(at.getUTCMonth() + 1) &&
    (cron.eitherDay ? day || weekday : day && weekday)
  );
}
