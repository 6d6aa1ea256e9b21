import { CodedError } from '../std/errors.ts';

/** One thing that is wrong with a configuration. */
export type ConfigProblem = {
  /** Key path as written in the file, such as `http.listen[0]`; empty for the whole document. */
  path: string;
  /** What is wrong and what to write instead, without the path. */
  message: string;
  /** Line of the file, counted from 1, or the environment variable the value came from. */
  origin: { line: number } | { env: string } | undefined;
};

type OpsErrorData =
  | { code: 'CONFIG_INVALID'; source: string; problems: readonly ConfigProblem[] }
  | { code: 'LISTEN_INVALID'; text: string }
  | { code: 'LISTEN_FAILED'; listen: string; reason: string }
  | { code: 'METRIC_INVALID'; metric: string }
  | { code: 'FOLDER_IN_USE' | 'FOLDER_UNUSABLE'; folder: string };

/** Faults of the operational parts: configuration, listeners, metric registration. */
export class OpsError extends CodedError<OpsErrorData> {}

/** A configuration that cannot be used; carries every problem found, not the first one. */
export class ConfigError extends CodedError<Extract<OpsErrorData, { code: 'CONFIG_INVALID' }>> {
  constructor(source: string, problems: readonly ConfigProblem[]) {
    const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
    const lines = problems.map((problem) => `  ${formatProblem(problem, source)}`);
    super(`${source}: ${count} in the configuration:\n${lines.join('\n')}`, {
      code: 'CONFIG_INVALID',
      source,
      problems,
    });
  }
}

/** One line for people: where it is, which key, what is wrong. */
export function formatProblem(problem: ConfigProblem, source: string): string {
  const where =
    problem.origin === undefined
      ? ''
      : 'env' in problem.origin
        ? `${problem.origin.env}: `
        : `${source}:${problem.origin.line}: `;
  const key = problem.path === '' ? '' : `${problem.path}: `;
  return `${where}${key}${problem.message}`;
}
