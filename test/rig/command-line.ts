import assert from 'node:assert/strict';
import { askHub } from '../../bin/admin.ts';
import { type CliModules, runCli } from '../../proto/ops/cli.ts';

export type Outcome = { code: number; out: string; err: string };

/** What a command is given besides a way to the hub; anything else it asks for fails the test. */
export type CommandParts = Partial<
  Pick<CliModules['admin'], 'readPassword' | 'newPassword'> & {
    purge: (
      wish: Parameters<CliModules['purge']>[0],
      env: Environment,
    ) => ReturnType<CliModules['purge']>;
    /** Of what goes to the standard error. */
    heard: (text: string) => void;
  }
>;
type Environment = Record<string, string>;

const never = async (): Promise<never> => assert.fail('not asked for');

/** Runs a command line of `flotilla` in this process, as the administrator of a running hub. */
export async function commandAt(
  { url, password }: { url: string; password: string },
  words: readonly string[],
  parts: CommandParts = {},
): Promise<Outcome> {
  const { purge, readPassword = never, newPassword = () => assert.fail('not asked for') } = parts;
  const outcome: Outcome = { code: -1, out: '', err: '' };
  const env = { FLOTILLA_ACCESS_ADMIN_PASSWORD: password };
  const entry = { schema: never, check: never, run: never };
  outcome.code = await runCli([...words, '--url', url], {
    out: (text) => void (outcome.out += text),
    err: (text) => {
      outcome.err += text;
      parts.heard?.(text);
    },
    env,
    programs: { hub: entry, agent: entry },
    checkHub: never,
    backup: { create: never, verify: never, restore: never },
    bundle: { export: never, import: never, verify: never, key: never },
    purge: purge === undefined ? never : (wish) => purge(wish, env),
    createJoinToken: never,
    admin: { ask: (wish, request) => askHub(wish, request, env), readPassword, newPassword },
  });
  return outcome;
}
