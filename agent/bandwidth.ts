import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Type, type Static } from 'typebox';
import { ByteSize } from '../proto/ops/config.ts';
import { RateBudget } from '../proto/std/rate-budget.ts';

const ROUTES_FILE = '/proc/net/route';
const CARDS_FOLDER = '/sys/class/net';
const BYTES_PER_MEGABIT = 125_000;
const LINK_MIN = 1_000_000;

function part(what: string): Type.TNumber {
  return Type.Number({
    description: `part of the link that ${what} may take; 1: not bounded unless link is given`,
    default: 1,
    minimum: 0.01,
    maximum: 1,
  });
}

/** Section `bandwidth`. */
export const BandwidthOptions = Type.Object(
  {
    link: Type.Optional(
      ByteSize({
        description:
          'bytes per second of the link of this node, each way; ' +
          'if left out, what the network card of the default route says',
        minimum: LINK_MIN,
      }),
    ),
    peersUp: part('chunks sent to other agents'),
    peersDown: part('chunks received from other agents'),
    source: part('chunks received from the hub or an upstream'),
  },
  { description: 'how much of the link of this node the exchange takes', default: {} },
);
export type BandwidthConfig = Static<typeof BandwidthOptions>;

/** One budget for each way bytes travel; undefined: as fast as it goes. */
export type Budgets = {
  peersUp: RateBudget | undefined;
  peersDown: RateBudget | undefined;
  source: RateBudget | undefined;
};

/** Bytes per second of the network card of the default route, as far as the kernel tells. */
async function cardSpeed(): Promise<number | undefined> {
  try {
    const routes = (await readFile(ROUTES_FILE, 'utf8')).split('\n').map((row) => row.split('\t'));
    const card = routes.find(([, destination]) => destination === '00000000')?.[0];
    if (card === undefined) return undefined;
    const megabits = Number(await readFile(path.join(CARDS_FOLDER, card, 'speed'), 'utf8'));
    return megabits > 0 ? megabits * BYTES_PER_MEGABIT : undefined;
  } catch {
    // Not Linux, or a card without a speed.
    return undefined;
  }
}

/** The budgets that the configuration asks for. */
export async function budgetsOf(
  config: BandwidthConfig,
  speed: () => Promise<number | undefined> = cardSpeed,
): Promise<Budgets> {
  const { link, peersUp, peersDown, source } = config;
  const isBounded = link !== undefined || Math.min(peersUp, peersDown, source) < 1;
  const bytes = link ?? (isBounded ? await speed() : undefined);
  const budget = (share: number): RateBudget | undefined => {
    const isNeeded = bytes !== undefined && (link !== undefined || share < 1);
    return isNeeded ? new RateBudget({ bytesPerSecond: bytes * share }) : undefined;
  };
  return { peersUp: budget(peersUp), peersDown: budget(peersDown), source: budget(source) };
}
