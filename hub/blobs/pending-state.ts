import type { PendingState } from './port.ts';

/** The fields of a state; none of what is no object in JSON. */
export function parseState(state: PendingState): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(state);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
