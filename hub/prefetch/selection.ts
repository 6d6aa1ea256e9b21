import { createHash } from 'node:crypto';
import { fitsGlob } from '../access/glob.ts';
import { NAMES_TOLD_MAX } from './constants.ts';
import { invalidOrder } from './errors.ts';
import type { Choice } from './store.ts';

/** A member of the fleet, as a choice sees it. */
export type Candidate = { node: string; zone: string };

type Term = { key: 'zone' | 'node'; pattern: string };

const TERM = /^(zone|node)=([A-Za-z0-9._*-]+)$/;

/** @throws PrefetchError INVALID */
export function checkChoice({ nodes, percent, copies }: Choice): void {
  termsOf(nodes);
  if (percent !== undefined && copies !== undefined) {
    throw invalidOrder('percent and copies exclude each other');
  }
}

/** The members that fit the terms of a choice, those that go first for `key` first. */
export function ranked<C extends Candidate>(
  members: readonly C[],
  nodes: string,
  key: string,
): C[] {
  const terms = termsOf(nodes);
  const fitting = members.filter((one) =>
    terms.every((term) => fitsGlob(term.pattern, one[term.key])),
  );
  return fitting
    .map((one) => ({ one, score: scoreOf(key, one.node) }))
    .sort((a, b) => Buffer.compare(b.score, a.score))
    .map(({ one }) => one);
}

/**
 * The nodes of a choice, by rendezvous hashing: the same members and the same `key` give the same
 * ones, and who comes or goes changes no more than has to be.
 * @throws PrefetchError INVALID when no member fits
 */
export function chosen(members: readonly Candidate[], choice: Choice, key: string): string[] {
  const all = ranked(members, choice.nodes, key).map(({ node }) => node);
  if (all.length === 0) throw nobody(members, choice.nodes);
  const { percent = 100, copies = Infinity } = choice;
  return all.slice(0, Math.min(copies, Math.ceil((all.length * percent) / 100)));
}

function nobody(members: readonly Candidate[], nodes: string): Error {
  if (members.length === 0) return invalidOrder('the fleet has no members');
  const zones = [...new Set(members.map(({ zone }) => zone))].filter((zone) => zone !== '').sort();
  const some = zones.slice(0, NAMES_TOLD_MAX).join(', ');
  const more = zones.length > NAMES_TOLD_MAX ? ', ...' : '';
  const known = zones.length === 0 ? 'no member has a zone' : `there are zones ${some}${more}`;
  return invalidOrder(`no member of the fleet fits ${nodes}; ${known}`);
}

/** @throws PrefetchError INVALID */
function termsOf(text: string): Term[] {
  if (text === '') return [];
  return text.split(',').map((part) => {
    const [, key, pattern] = TERM.exec(part.trim()) ?? [];
    if ((key === 'zone' || key === 'node') && pattern !== undefined) return { key, pattern };
    throw invalidOrder(`"${part}" is no choice of nodes; write zone=a or node=gpu-*`);
  });
}

function scoreOf(key: string, node: string): Buffer {
  return createHash('sha256').update(`flotilla prefetch ${key}\n${node}`).digest();
}
