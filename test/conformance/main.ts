import { writeFile } from 'node:fs/promises';
import { messageOf } from '../../proto/std/errors.ts';
import { CONFORMANCE_HELP, parseCommandLine, type CommandLine } from './options.ts';
import { reportOf, resultLine, totalsLine } from './report.ts';
import { runSuite } from './suite.ts';

const EXIT_NOT_RUN = 2;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function main(options: CommandLine): Promise<number> {
  const results = await runSuite(options, (result) => {
    if (result.outcome === 'failed' || !options.failedOnly) say(resultLine(result));
  });
  if (options.json !== undefined) {
    const text = JSON.stringify(reportOf(options, results), undefined, 2);
    await writeFile(options.json, `${text}\n`);
  }
  say(totalsLine(results));
  return results.some(({ outcome }) => outcome === 'failed') ? 1 : 0;
}

try {
  const options = parseCommandLine(process.argv.slice(2), process.env);
  if (options === 'help') process.stdout.write(CONFORMANCE_HELP);
  else process.exitCode = await main(options);
} catch (err) {
  process.stderr.write(`conformance: ${messageOf(err)}\n`);
  process.exitCode = EXIT_NOT_RUN;
}
