import { access, readFile, readdir } from 'node:fs/promises';
import path from 'node:path';

const ROUTES_FILE = '/proc/net/route';
const CARDS_FOLDER = '/sys/class/net';
const BYTES_PER_MEGABIT = 125_000;
/** A bond of VLANs over cards is three; nothing real is deeper. */
const LAYERS_MAX = 4;
const LOWER = 'lower_';

/** The network card of the default route. */
export type LinkCard = {
  name: string;
  /** Each way, as far as the kernel knows. */
  bytesPerSecond: number | undefined;
};

/**
 * The network card of the default route. A speed is believed only of cards that are one or stand
 * on one: virtual pairs, such as pods have, always claim 10 Gbit/s. undefined: no such card.
 */
export async function linkCard(
  options: { routesFile?: string; cardsFolder?: string } = {},
): Promise<LinkCard | undefined> {
  const { routesFile = ROUTES_FILE, cardsFolder = CARDS_FOLDER } = options;
  const rows = (await textOf(routesFile))?.split('\n').map((row) => row.split('\t'));
  const name = rows?.find(([, destination]) => destination === '00000000')?.[0];
  if (name === undefined) return undefined;
  const folder = path.join(cardsFolder, name);
  const megabits = Number((await textOf(path.join(folder, 'speed'))) ?? -1);
  const isKnown = megabits > 0 && (await isReal(folder, LAYERS_MAX));
  return { name, bytesPerSecond: isKnown ? megabits * BYTES_PER_MEGABIT : undefined };
}

/** What a card has sent and received so far, in bytes. undefined: the kernel does not tell. */
export async function cardTraffic(
  name: string,
  options: { cardsFolder?: string } = {},
): Promise<{ sent: number; received: number } | undefined> {
  const folder = path.join(options.cardsFolder ?? CARDS_FOLDER, name, 'statistics');
  const [sent, received] = await Promise.all([
    textOf(path.join(folder, 'tx_bytes')),
    textOf(path.join(folder, 'rx_bytes')),
  ]);
  if (sent === undefined || received === undefined) return undefined;
  return { sent: Number(sent), received: Number(received) };
}

async function isReal(folder: string, layers: number): Promise<boolean> {
  try {
    await access(path.join(folder, 'device'));
    return true;
  } catch {
    // Not a card itself; it may stand on some.
  }
  if (layers === 0) return false;
  const names = await readdir(folder).catch(() => []);
  const lower = names.filter((name) => name.startsWith(LOWER));
  const real = await Promise.all(lower.map((name) => isReal(path.join(folder, name), layers - 1)));
  return real.includes(true);
}

async function textOf(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch {
    // Not Linux, or a card that does not tell.
    return undefined;
  }
}
