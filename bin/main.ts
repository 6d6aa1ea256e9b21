import { randomBytes } from 'node:crypto';
import { compactMemory } from '../proto/ops/compact-memory.ts';
import { SHUTDOWN_GRACE_MS } from '../proto/ops/constants.ts';
import { runCli } from '../proto/ops/cli.ts';
import type {
  CheckWish,
  JoinTokenWish,
  PurgeWish,
  ProgramEntry,
  ProgramInput,
} from '../proto/ops/cli.ts';
import { loadConfig } from '../proto/ops/config.ts';
import { runProgram } from '../proto/ops/program.ts';
import { hasCode } from '../proto/std/errors.ts';

// The command line of both programs. The code of a program is loaded when it is asked for.

/** Random bytes of a password that is made for an account. */
const PASSWORD_BYTES = 18;

const { env } = process;
const surroundings = { env, tell: (text: string) => void process.stderr.write(`${text}\n`) };

const agent: ProgramEntry = {
  schema: async () => (await import('../agent/options.ts')).AgentOptions,
  check: async (input: ProgramInput) => {
    const { AgentOptions } = await import('../agent/options.ts');
    const { checkAgentOptions } = await import('../agent/checked-options.ts');
    checkAgentOptions(loadConfig(AgentOptions, { ...input, env, kind: 'agent' }));
  },
  run: async (input: ProgramInput) => {
    const { AgentOptions } = await import('../agent/options.ts');
    const { startAgent } = await import('../agent/agent.ts');
    return runProgram(
      {
        kind: 'agent',
        schema: AgentOptions,
        logLevel: (config) => config.log.level,
        start: async (config, base) => {
          const running = await startAgent(config, base);
          // Agents are on every node, beside the work the nodes are for.
          compactMemory();
          return running;
        },
      },
      { ...input, env },
    );
  },
};

const hub: ProgramEntry = {
  schema: async () => (await import('../hub/options.ts')).HubOptions,
  check: async (input: ProgramInput) => {
    const { HubOptions, checkedOptions } = await import('../hub/options.ts');
    checkedOptions(loadConfig(HubOptions, { ...input, env, kind: 'hub' }));
  },
  run: async (input: ProgramInput) => {
    const { HubOptions } = await import('../hub/options.ts');
    const { startHub } = await import('../hub/hub.ts');
    return runProgram(
      {
        kind: 'hub',
        schema: HubOptions,
        logLevel: (config) => config.log.level,
        start: async (config, base) => {
          const running = await startHub(config, base);
          compactMemory();
          return running;
        },
      },
      { ...input, env },
    );
  },
};

// Whoever wanted the first lines only, as head does, hangs up: the work goes on to its exit code.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (err) => {
    if (!hasCode(err, 'EPIPE')) throw err;
  });
}

const code = await runCli(process.argv.slice(2), {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  env,
  programs: { hub, agent },
  admin: {
    ask: async (wish, request) => (await import('./admin.ts')).askHub(wish, request, env),
    readPassword: async (file) => (await import('./admin.ts')).readPassword(file),
    newPassword: () => randomBytes(PASSWORD_BYTES).toString('base64url'),
  },
  checkHub: async ({ hash, repair, adopt, json, ...input }: CheckWish) => {
    const { HubOptions } = await import('../hub/options.ts');
    const { checkHub } = await import('../hub/check/check-hub.ts');
    const { formatReport, isSound } = await import('../hub/check/check.ts');
    const config = loadConfig(HubOptions, { ...input, env, kind: 'hub' });
    const stop = new AbortController();
    process.once('SIGINT', () => stop.abort());
    const report = await checkHub(config, { hash, repair, adopt }, { signal: stop.signal });
    return {
      text: json ? `${JSON.stringify(report, undefined, 2)}\n` : formatReport(report),
      clean: isSound(report),
    };
  },
  purge: async (wish: PurgeWish) => {
    const { purge } = await import('./purge.ts');
    return purge(wish, env);
  },
  backup: {
    create: async (wish) => (await import('./backup.ts')).createBackup(wish, surroundings),
    verify: async (wish) => (await import('./backup.ts')).verifyBackup(wish, surroundings),
    restore: async (wish) => (await import('./backup.ts')).restoreBackup(wish, surroundings),
  },
  bundle: {
    export: async (wish) => (await import('./bundle.ts')).exportImages(wish, surroundings),
    import: async (wish) => (await import('./bundle.ts')).importImages(wish, surroundings),
    verify: async (wish) => (await import('./bundle.ts')).verifyImages(wish, surroundings),
    key: async (wish) => (await import('./bundle.ts')).tellKey(wish, surroundings),
  },
  createJoinToken: async (wish: JoinTokenWish) => {
    const { createJoinToken } = await import('./join-token.ts');
    return createJoinToken(wish, env);
  },
});

process.exitCode = code;
// A handle that somebody forgot must not keep a program alive that has ended.
setTimeout(() => process.exit(code), SHUTDOWN_GRACE_MS).unref();
