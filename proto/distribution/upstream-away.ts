import { AWAY_MAX_CHARS } from './constants.ts';

/** Header of a hub's 503: a sentence on the registry behind it that cannot be asked now. */
export const UPSTREAM_AWAY_HEADER = 'flotilla-upstream-away';

/** The sentence as a header may have it. */
export function awayHeader(sentence: string): Record<string, string> {
  const value = sentence.replace(/[^\x20-\x7e]+/g, ' ').trim();
  return { [UPSTREAM_AWAY_HEADER]: value.slice(0, AWAY_MAX_CHARS) };
}

/** The sentence of such a header; undefined for what is none. */
export function awaySentence(header: string): string | undefined {
  const isSentence = header !== '' && header.length <= AWAY_MAX_CHARS;
  return isSentence && /^[\x20-\x7e]+$/.test(header) ? header : undefined;
}
