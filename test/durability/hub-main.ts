// A hub that collects all the time, for trials that kill it: a collection every moment, of what
// nobody used for seconds instead of hours.
import { readFile } from 'node:fs/promises';
import { GC_LOOK_MS } from '../../hub/gc/constants.ts';
import { HubOptions } from '../../hub/options.ts';
import { loadConfig } from '../../proto/ops/config.ts';
import { createLogger } from '../../proto/ops/logger.ts';

const LOOK_MS = 250;
const COLLECTS = { interval: 1, grace: 20_000, quarantine: 3_000 };

const usual = globalThis.setInterval;
Object.assign(globalThis, {
  setInterval: (task: () => void, ms: number) => usual(task, ms === GC_LOOK_MS ? LOOK_MS : ms),
});

const { startHub } = await import('../../hub/hub.ts');
const text = await readFile(process.argv[2] ?? '', 'utf8');
const config = loadConfig(HubOptions, { text, env: {} });
const logger = createLogger({ level: 'info', name: 'hub' });
const hub = await startHub({ ...config, gc: { ...config.gc, ...COLLECTS } }, { logger });
process.once('SIGTERM', () => void hub.close());
