import type { TagName } from '../../proto/trust/tag-statement.ts';
import type { TrustStore } from '../../proto/trust/trust-store.ts';
import type { CallOptions } from '../fetch/ports.ts';

/** The hub's fleet API, as far as it states what tags name. */
export interface TagAuthority {
  /** A verified statement. Rejects when the hub cannot be asked. */
  requestTag(name: TagName, o: CallOptions): Promise<Buffer | 'not-found'>;
  /** Whether the last call to the hub worked. */
  readonly online: boolean;
  readonly trust: TrustStore;
  readonly fleetId: string;
}
