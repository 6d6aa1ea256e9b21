import { CHALLENGE_MAX_CHARS } from './constants.ts';

/** One challenge of a WWW-Authenticate header; parameter names are lower case. */
export type Challenge = { scheme: string; parameters: ReadonlyMap<string, string> };

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const SPACE = /[ \t]*/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;

/**
 * Reads a WWW-Authenticate header (RFC 9110 section 11.6.1), several challenges in one included.
 * What cannot be read ends the list; nothing is thrown.
 */
export function parseChallenges(header: string): Challenge[] {
  if (header.length > CHALLENGE_MAX_CHARS) return [];
  const challenges: Challenge[] = [];
  let parameters: Map<string, string> | undefined;
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match) at += match[0].length;
    return match;
  };
  while (at < header.length) {
    take(SPACE);
    if (header[at] === ',') {
      at += 1;
      continue;
    }
    const word = take(TOKEN)?.[0].toLowerCase();
    if (word === undefined) break;
    const spaces = take(SPACE)?.[0].length ?? 0;
    if (header[at] !== '=') {
      parameters = new Map();
      challenges.push({ scheme: word, parameters });
      // Such as Negotiate's: it is no parameter, and hides none behind it.
      if (spaces > 0) take(TOKEN68);
      continue;
    }
    at += 1;
    take(SPACE);
    const quoted = take(QUOTED)?.[1];
    const value = quoted?.replaceAll(/\\(.)/g, '$1') ?? take(TOKEN)?.[0];
    if (value === undefined || parameters === undefined) break;
    if (!parameters.has(word)) parameters.set(word, value);
  }
  return challenges;
}
