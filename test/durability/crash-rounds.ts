import { test } from 'node:test';
import { scale } from '../rig/scale.ts';
import { CrashTrial, type TrialPlace } from './crash-trial.ts';

const SEED = Number(process.env['FLOTILLA_CRASH_SEED'] ?? 20_240_229);

/** Kills a hub of these drivers again and again. */
export function crashRounds(
  drivers: { catalog: string; blobs: keyof typeof scale.crashRounds },
  { skip = false }: { skip?: string | false },
  placeOf: () => Promise<TrialPlace>,
): void {
  const { catalog, blobs } = drivers;
  const rounds = Number(process.env['FLOTILLA_CRASH_ROUNDS'] ?? scale.crashRounds[blobs]);
  const name = `a hub on ${catalog} and ${blobs} keeps what it acknowledged (${rounds} kills)`;
  test(name, { skip }, async (t) => {
    await using trial = await CrashTrial.open(await placeOf(), SEED);
    while (trial.rounds < rounds) await trial.round();
    await trial.end();
    const { ledger, verified } = trial;
    t.diagnostic(JSON.stringify({ seed: SEED, rounds, ...ledger.acknowledged, verified }));
  });
}
