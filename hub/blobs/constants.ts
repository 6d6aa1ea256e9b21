/** Blobs that may be in the making in one store at the same time; each holds one open file. */
export const PENDING_BLOBS_MAX = 4_096;
/** Longest run of slices handed to the system in one write (IOV_MAX is 1024 on Linux). */
export const WRITE_SLICES_MAX = 512;
