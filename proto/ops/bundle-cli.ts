import { parseArgs, type ParseArgsConfig } from 'node:util';
import { messageOf } from '../std/errors.ts';
import { AdminUsage } from './admin-commands.ts';
import type { ProgramInput } from './cli.ts';

/** Where the hub is asked. */
type Place = ProgramInput & { url: string | undefined };

/** What `bundle export` was asked for; names of files as they were given. */
export type BundleExportWish = Place & {
  out: string;
  since: string | undefined;
  platforms: readonly string[];
  images: readonly string[];
};

/** What `bundle import` was asked for. */
export type BundleImportWish = Place & {
  from: string;
  to: string | undefined;
  trust: readonly string[];
};

export type BundleVerifyWish = ProgramInput & { from: string; trust: readonly string[] };

/** `change`: the key is replaced before it is told. */
export type BundleKeyWish = Place & { change: 'rotate' | 'revoke' | undefined };

/** Each gives a report for people. */
export type BundleCliModules = {
  export: (wish: BundleExportWish) => Promise<string>;
  import: (wish: BundleImportWish) => Promise<string>;
  verify: (wish: BundleVerifyWish) => Promise<string>;
  key: (wish: BundleKeyWish) => Promise<string>;
};

type Modules = {
  bundle: BundleCliModules;
  input: (file: string | undefined) => Promise<ProgramInput>;
  out: (text: string) => void;
};

const SHARED = {
  config: { type: 'string', short: 'c' },
  help: { type: 'boolean', short: 'h' },
} as const;
const URL_OPTION = { url: { type: 'string' } } as const;
const TRUST = { trust: { type: 'string', multiple: true } } as const;

/**
 * Runs `bundle` with these words behind it; false when help is asked for.
 * @throws AdminUsage; what the command itself throws
 */
export async function runBundleCommand(
  [word = '', ...args]: readonly string[],
  modules: Modules,
): Promise<boolean> {
  const command = COMMANDS[word];
  if (word === '--help' || word === '-h') return false;
  if (command === undefined) throw new AdminUsage('bundle needs export, import, verify or key');
  const text = await command(args, modules);
  if (text === undefined) return false;
  modules.out(text);
  return true;
}

/** undefined: asked for help. */
type Command = (args: readonly string[], modules: Modules) => Promise<string | undefined>;

const COMMANDS: Readonly<Record<string, Command>> = {
  export: async (args, { bundle, input }) => {
    const options = {
      ...SHARED,
      ...URL_OPTION,
      out: { type: 'string' },
      since: { type: 'string' },
      platform: { type: 'string', multiple: true },
    } as const;
    const { values, positionals } = parse(args, options);
    if (values.help === true) return undefined;
    const { out, since, url, platform = [] } = values;
    if (out === undefined) throw new AdminUsage('bundle export needs --out FILE or FOLDER');
    if (positionals.length === 0) throw new AdminUsage('bundle export needs images');
    const wish = { out, since, platforms: platform, images: positionals, url };
    return bundle.export({ ...(await input(values.config)), ...wish });
  },
  import: async (args, { bundle, input }) => {
    const options = { ...SHARED, ...URL_OPTION, ...TRUST, to: { type: 'string' } } as const;
    const { values, positionals } = parse(args, options);
    if (values.help === true) return undefined;
    const { to, url, trust = [] } = values;
    const from = only(positionals, 'import');
    return bundle.import({ ...(await input(values.config)), from, to, trust, url });
  },
  verify: async (args, { bundle, input }) => {
    const { values, positionals } = parse(args, { ...SHARED, ...TRUST });
    if (values.help === true) return undefined;
    const from = only(positionals, 'verify');
    return bundle.verify({ ...(await input(values.config)), from, trust: values.trust ?? [] });
  },
  key: async (args, { bundle, input }) => {
    const options = {
      ...SHARED,
      ...URL_OPTION,
      rotate: { type: 'boolean', default: false },
      revoke: { type: 'boolean', default: false },
    } as const;
    const { values, positionals } = parse(args, options);
    if (values.help === true) return undefined;
    const { rotate, revoke, url } = values;
    if (positionals.length > 0) throw new AdminUsage('bundle key takes nothing behind it');
    if (rotate && revoke) throw new AdminUsage('--revoke replaces the key too');
    const change = revoke ? 'revoke' : rotate ? 'rotate' : undefined;
    return bundle.key({ ...(await input(values.config)), change, url });
  },
};

function parse<T extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: T,
): ReturnType<typeof parseArgs<{ options: T; args: string[]; allowPositionals: true }>> {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (err) {
    // node:util goes on about positional arguments.
    throw new AdminUsage(messageOf(err).split('. ', 1)[0] ?? '');
  }
}

function only(positionals: readonly string[], word: string): string {
  const [first, second] = positionals;
  if (first !== undefined && second === undefined) return first;
  throw new AdminUsage(`bundle ${word} needs one FILE`);
}
