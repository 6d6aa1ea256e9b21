import { parseArgs } from 'node:util';
import { messageOf } from '../../proto/std/errors.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { SPEC_VERSIONS, type SpecVersion } from './check.ts';
import { ConformanceError } from './errors.ts';
import type { SuiteOptions } from './suite.ts';

export const CONFORMANCE_HELP = `npm run conformance -- URL [options]

Tries every rule of the OCI distribution-spec on the registry at URL, http:// or https://, and says
of each check whether it passed, failed or was skipped, with the section of the specification. It
pushes small images into two repositories and deletes most of them again. Ends with a line of totals
and exit code 0, or 1 when a check failed, 2 when the checks could not be run.

  --spec VERSION     1.1 (default), or dev for the main branch of the specification
  --username NAME    log in with this name, by Basic or at the token service of the registry
  --password TEXT    its password; better in the environment as CONFORMANCE_PASSWORD
  --repository NAME  repository to work in (default: a new one below conformance/)
  --only START       only checks whose id begins with this, such as referrers/;
                     may be given more than once
  --json FILE        write the results to FILE
  --failed           print only checks that failed
  --help             this text
`;

export type CommandLine = SuiteOptions & { json: string | undefined; failedOnly: boolean };

/** Reads the command line. @throws ConformanceError USAGE with a sentence for the user */
export function parseCommandLine(
  args: readonly string[],
  env: Record<string, string | undefined>,
): CommandLine | 'help' {
  const { values, positionals } = parsed(args);
  if (values.help === true) return 'help';
  const [text, ...others] = positionals;
  if (text === undefined) throw usage('the URL of the registry is missing; see --help');
  if (others.length > 0) throw usage(`one URL is enough, what is ${others.join(' ')}?`);
  const spec = SPEC_VERSIONS.find((version) => version === values.spec);
  if (spec === undefined) throw usage(`--spec takes ${SPEC_VERSIONS.join(' or ')}`);
  const { username, repository } = values;
  const password = values.password ?? env['CONFORMANCE_PASSWORD'];
  if (username === undefined && values.password !== undefined) {
    throw usage('--password needs --username');
  }
  if (username !== undefined && password === undefined) throw usage('--username needs --password');
  return {
    url: parseUrl(text),
    spec: spec satisfies SpecVersion,
    credentials:
      username === undefined || password === undefined ? undefined : { username, password },
    repository: repository === undefined ? undefined : parseName(repository),
    only: values.only,
    json: values.json,
    failedOnly: values.failed === true,
  };
}

function parsed(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        spec: { ...text, default: '1.1' },
        username: text,
        password: text,
        repository: text,
        only: { ...text, multiple: true },
        json: text,
        failed: flag,
        help: flag,
      },
    });
  } catch (err) {
    throw usage(messageOf(err));
  }
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw usage(`"${text}" is no URL of a registry; write it as https://registry.example.com`);
  }
  if (url.username !== '' || url.password !== '') {
    throw usage('give the user name with --username, not in the URL');
  }
  if (url.pathname !== '/' && !/^\/v2\/?$/.test(url.pathname)) {
    throw usage(`a registry has no path but /v2/, and ${text} has one`);
  }
  return url;
}

function parseName(text: string): string {
  try {
    return parseRepository(text);
  } catch {
    throw usage(`--repository: "${text}" is no name of a repository`);
  }
}

function usage(message: string): ConformanceError {
  return new ConformanceError(message, { code: 'USAGE' });
}
