import { CodedError } from '../std/errors.ts';

/** OCI distribution-spec error codes and the few extra ones registries answer with. */
export const OCI_ERRORS = {
  BLOB_UNKNOWN: { status: 404, message: 'blob unknown to registry' },
  BLOB_UPLOAD_INVALID: { status: 400, message: 'blob upload invalid' },
  BLOB_UPLOAD_UNKNOWN: { status: 404, message: 'blob upload unknown to registry' },
  DENIED: { status: 403, message: 'requested access to the resource is denied' },
  DIGEST_INVALID: { status: 400, message: 'digest invalid or not that of the content' },
  MANIFEST_BLOB_UNKNOWN: { status: 404, message: 'manifest names content unknown here' },
  MANIFEST_INVALID: { status: 400, message: 'manifest invalid' },
  MANIFEST_UNKNOWN: { status: 404, message: 'manifest unknown to registry' },
  NAME_INVALID: { status: 400, message: 'repository name invalid' },
  NAME_UNKNOWN: { status: 404, message: 'repository name unknown to registry' },
  PAGINATION_NUMBER_INVALID: { status: 400, message: 'page size invalid' },
  RANGE_INVALID: { status: 416, message: 'range cannot be satisfied' },
  SIZE_INVALID: { status: 400, message: 'size is not that of the content' },
  TAG_INVALID: { status: 400, message: 'tag invalid' },
  TOOMANYREQUESTS: { status: 429, message: 'too many requests' },
  UNAUTHORIZED: { status: 401, message: 'authentication required' },
  UNAVAILABLE: { status: 503, message: 'service unavailable' },
  UNKNOWN: { status: 500, message: 'internal error' },
  UNSUPPORTED: { status: 405, message: 'operation unsupported' },
} as const satisfies Record<string, { status: number; message: string }>;

/** Codes of our own that are told by one the distribution-spec has ("Error Codes"). */
const TOLD_AS: { readonly [code: string]: string } = {
  PAGINATION_NUMBER_INVALID: 'UNSUPPORTED',
  RANGE_INVALID: 'SIZE_INVALID',
};

export type OciCode = keyof typeof OCI_ERRORS;

/** A failure as the OCI distribution API tells it. `status` overrides the table's HTTP status. */
export class OciError extends CodedError<{ code: OciCode; detail?: unknown; status?: number }> {
  get status(): number {
    return this.data.status ?? OCI_ERRORS[this.data.code].status;
  }
}

/** An OciError with the given message. */
export function ociError(
  code: OciCode,
  message: string,
  more: { detail?: unknown; status?: number; cause?: unknown } = {},
): OciError {
  const { cause, ...data } = more;
  return new OciError(message, { code, ...data }, { cause });
}

/** The JSON body of a failure, distribution-spec "Error Codes". */
export function ociErrorBody(err: OciError): {
  errors: { code: string; message: string; detail?: unknown }[];
} {
  const { code, detail } = err.data;
  const message = err.message || OCI_ERRORS[code].message;
  const told = TOLD_AS[code] ?? code;
  return { errors: [{ code: told, message, ...(detail === undefined ? {} : { detail }) }] };
}
