/** Longest pattern for repositories, characters. */
export const GLOB_MAX_CHARS = 255;

const GLOB = /^(?:\*|[a-z0-9._/-])+$/;

/** Whether a text can be a pattern: characters of repository names and stars. */
export function isGlob(text: string): boolean {
  return text.length <= GLOB_MAX_CHARS && GLOB.test(text);
}

/**
 * Whether a repository fits a pattern: `*` stands for any characters of one segment, `**` for any
 * characters. Work is at most the product of both lengths, whatever the pattern is.
 */
export function fitsGlob(pattern: string, repository: string): boolean {
  // After each step, reached[i] says whether the pattern so far fits the first i characters.
  let reached = Array.from({ length: repository.length + 1 }, (_, i) => i === 0);
  for (let at = 0; at < pattern.length; at++) {
    if (pattern[at] !== '*') {
      reached = afterCharacter(reached, pattern.charAt(at), repository);
      continue;
    }
    const crosses = pattern[at + 1] === '*';
    while (pattern[at + 1] === '*') at++;
    for (let i = 0; i < repository.length; i++) {
      const stays = crosses || repository[i] !== '/';
      if (reached[i] === true && stays) reached[i + 1] = true;
    }
  }
  return reached[repository.length] === true;
}

function afterCharacter(reached: readonly boolean[], wanted: string, text: string): boolean[] {
  return reached.map((_, i) => i > 0 && reached[i - 1] === true && text[i - 1] === wanted);
}
