import { CRON_YEARS_MAX } from './constants.ts';
import { JobError } from './errors.ts';

/** Times by the five fields of cron, in UTC. */
export type Cron = {
  minutes: ReadonlySet<number>;
  hours: ReadonlySet<number>;
  days: ReadonlySet<number>;
  months: ReadonlySet<number>;
  weekdays: ReadonlySet<number>;
  /** Days of the month and of the week are both given: either will do, as crontab(5) has it. */
  eitherDay: boolean;
};

const CRON_MAX_CHARS = 255;
const MINUTE_MS = 60_000;
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const SHORT: Readonly<Record<string, string>> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
  '@yearly': '0 0 1 1 *',
};

type Bounds = { name: string; min: number; max: number; words?: readonly string[] };
const FIELDS = [
  { name: 'minute', min: 0, max: 59 },
  { name: 'hour', min: 0, max: 23 },
  { name: 'day of the month', min: 1, max: 31 },
  { name: 'month', min: 1, max: 12, words: MONTHS },
  // 7 is Sunday as well.
  { name: 'day of the week', min: 0, max: 7, words: WEEKDAYS },
] as const satisfies readonly Bounds[];

/**
 * Reads five fields (minute, hour, day of the month, month, day of the week) of numbers, names,
 * `*`, ranges, steps and lists, or a word such as `@daily`.
 * @throws JobError CRON_INVALID, also for a time that never comes
 */
export function parseCron(text: string): Cron {
  if (text.length > CRON_MAX_CHARS) throw invalid(`more than ${CRON_MAX_CHARS} characters`);
  const words = (SHORT[text.trim().toLowerCase()] ?? text).trim().toLowerCase().split(/\s+/);
  if (words.length !== FIELDS.length) {
    throw invalid('five fields are needed: minute hour day-of-month month day-of-week');
  }
  const [minutes, hours, days, months, weekdays] = FIELDS.map((field, i) =>
    setOf(words[i] ?? '', field),
  );
  if (!minutes || !hours || !days || !months || !weekdays) throw invalid('a field is missing');
  if (weekdays.delete(7)) weekdays.add(0);
  const eitherDay = !words[2]?.startsWith('*') && !words[4]?.startsWith('*');
  const cron = { minutes, hours, days, months, weekdays, eitherDay };
  // 2000 was a leap year: a time that comes at all comes within the years after it.
  if (nextTime(cron, Date.UTC(2000, 0, 1)) === undefined) throw invalid('this day never comes');
  return cron;
}

/** The first whole minute after `afterMs` that fits, ms since 1970; undefined when none comes. */
export function nextTime(cron: Cron, afterMs: number): number | undefined {
  const at = new Date(Math.floor(afterMs / MINUTE_MS) * MINUTE_MS + MINUTE_MS);
  const lastYear = at.getUTCFullYear() + CRON_YEARS_MAX;
  while (at.getUTCFullYear() <= lastYear) {
    if (!cron.months.has(at.getUTCMonth() + 1)) {
      at.setUTCMonth(at.getUTCMonth() + 1, 1);
      at.setUTCHours(0, 0);
    } else if (!fitsDay(cron, at)) {
      at.setUTCDate(at.getUTCDate() + 1);
      at.setUTCHours(0, 0);
    } else if (!cron.hours.has(at.getUTCHours())) {
      at.setUTCHours(at.getUTCHours() + 1, 0);
    } else if (!cron.minutes.has(at.getUTCMinutes())) {
      at.setUTCMinutes(at.getUTCMinutes() + 1);
    } else return at.getTime();
  }
  return undefined;
}

function fitsDay({ days, weekdays, eitherDay }: Cron, at: Date): boolean {
  const [day, weekday] = [days.has(at.getUTCDate()), weekdays.has(at.getUTCDay())];
  return eitherDay ? day || weekday : day && weekday;
}

function setOf(text: string, field: Bounds): Set<number> {
  const found = new Set<number>();
  for (const part of text.split(',')) {
    const [range = '', stepText, ...rest] = part.split('/');
    const step = stepText === undefined ? 1 : numberOf(stepText, { ...field, min: 1 });
    if (rest.length > 0) throw wrong(part, field);
    const [first, last] = endsOf(range, field, stepText !== undefined);
    if (first > last) throw wrong(part, field);
    for (let value = first; value <= last; value += step) found.add(value);
  }
  return found;
}

/** `a/n` means from a on. */
function endsOf(range: string, field: Bounds, stepped: boolean): [number, number] {
  const { min, max, words } = field;
  if (range === '*') return [min, words === WEEKDAYS ? max - 1 : max];
  const [from = '', to, ...rest] = range.split('-');
  if (rest.length > 0) throw wrong(range, field);
  const first = numberOf(from, field);
  if (to !== undefined) return [first, numberOf(to, field)];
  return [first, stepped ? max : first];
}

function numberOf(text: string, field: Bounds): number {
  const { min, max, words } = field;
  const word = words?.indexOf(text) ?? -1;
  const value = word >= 0 ? word + min : Number(/^\d{1,2}$/.test(text) ? text : Number.NaN);
  if (value >= min && value <= max) return value;
  throw wrong(text, field);
}

function wrong(text: string, { name, min, max }: Bounds): JobError {
  return invalid(`"${text}" is no ${name}, which is ${min} to ${max}`);
}

function invalid(why: string): JobError {
  return new JobError(`not a cron time: ${why}`, { code: 'CRON_INVALID' });
}
