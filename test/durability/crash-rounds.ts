import { test } from 'node:test';
import { scale } from '../rig/scale.ts';
import { CrashTrial, type TrialPlace } from './crash-trial.ts';

const SEED = Number(process.env['FLOTILLA_CRASH_SEED'] ?? 20_240_229);
const ROUNDS = Number(process.env['FLOTILLA_CRASH_ROUNDS'] ?? scale.crashRounds);

/** Kills a hub of these drivers again and again. */
export function crashRounds(
  drivers: string,
  { skip = false }: { skip?: string | false },
  placeOf: () => Promise<TrialPlace>,
): void {
  const name = `a hub on ${drivers} that is killed keeps what it acknowledged (${ROUNDS} rounds)`;
  test(name, { skip }, async (t) => {
    await using trial = await CrashTrial.open(await placeOf(), SEED);
    while (trial.rounds < ROUNDS) await trial.round();
    await trial.end();
    const { ledger, verified } = trial;
    t.diagnostic(JSON.stringify({ seed: SEED, ...ledger.acknowledged, verified }));
  });
}
