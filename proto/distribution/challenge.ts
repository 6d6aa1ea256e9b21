/** One challenge of a WWW-Authenticate header; parameter names are lower case. */
export type Challenge = { scheme: string; parameters: ReadonlyMap<string, string> };

const HEADER_MAX_CHARS = 8192;
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const SPACE = /[ \t]*/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;

/**
 * Reads a WWW-Authenticate header (RFC 9110 section 11.6.1), several challenges in one included.
 * What cannot be read ends the list; nothing is thrown.
 */
export function parseChallenges(header: string): Challenge[] {
  const text = header.slice(0, HEADER_MAX_CHARS);
  const challenges: Challenge[] = [];
  let parameters = new Map<string, string>();
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) at += match[0].length;
    return match;
  };
  while (at < text.length) {
    take(SPACE);
    if (text[at] === ',') {
      at += 1;
      continue;
    }
    const word = take(TOKEN)?.[0];
    if (word === undefined) break;
    take(SPACE);
    if (text[at] !== '=') {
      parameters = new Map();
      challenges.push({ scheme: word.toLowerCase(), parameters });
      continue;
    }
    at += 1;
    take(SPACE);
    const quoted = take(QUOTED)?.[1];
    const value = quoted?.replace(/\\(.)/g, '$1') ?? take(TOKEN)?.[0];
    if (value === undefined) break;
    const name = word.toLowerCase();
    if (!parameters.has(name)) parameters.set(name, value);
  }
  return challenges;
}
