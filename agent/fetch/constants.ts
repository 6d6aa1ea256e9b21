/** Chunk requests in flight to one peer for one blob, however far and fast it is. */
export const PEER_INFLIGHT_MAX = 8;
/** As long as its pace is not known, and at least. */
export const PEER_INFLIGHT_START = 4;
export const PEER_INFLIGHT_MIN = 2;
/** Chunk requests in flight to all peers of other zones, when peers of our own could help. */
export const FAR_INFLIGHT_MAX = 8;
/** Over a quick line, with fewer near peers left, far ones are asked for what those hold too. */
export const NEAR_PEERS_MIN = 4;
/** The line to other zones is slow when a chunk takes longer than this, and quick below this. */
export const LINE_SLOW_MS = 1000;
export const LINE_QUICK_MS = 500;
/** Chunk requests in flight to other zones before the line is known. */
export const FAR_INFLIGHT_UNKNOWN = 1;
/** A chunk we may fetch from another zone has to be asked for within this time. */
export const CROSSING_KEPT_MS = 5_000;
/** One that we may not is not asked for again before this. */
export const CROSSING_DECLINED_MS = 1_000;
/**
 * A reader, or a download, that stands for so long fetches from other zones although nobody let it,
 * and the spread of it, so that not all of a zone do so at once. Each time the patience is half, at
 * least the third of these, until the tracker lets us fetch something.
 */
export const CROSSING_PATIENCE_MS = 15_000;
export const CROSSING_PATIENCE_SPREAD_MS = 15_000;
export const CROSSING_PATIENCE_MIN_MS = 2_000;
/** So many chunks are fetched at a time then, from the one on where the reader stands. */
export const CROSSING_PATIENCE_CHUNKS = 4;
/** Chunk requests in flight to the hub for one blob. */
export const HUB_INFLIGHT_MAX = 4;
/** Chunk requests in flight for one blob over all sources, at most and at least. */
export const DOWNLOAD_INFLIGHT_MAX = 24;
export const DOWNLOAD_INFLIGHT_MIN = 8;
/** In between: one for so many chunks of the blob, or as many as come within this time. */
export const CHUNKS_PER_INFLIGHT = 24;
export const INFLIGHT_LANDING_MS = 400;
/** The hub is asked for as many chunks at a time as it brings one after the other in this time. */
export const HUB_SHARE_MS = 500;
/** Peers a planner keeps state for. */
export const PLANNER_PEERS_MAX = 64;
/** Requests in flight that repeat one in flight elsewhere, per blob. */
export const DUPLICATES_MAX = 4;
/** Part of a blob's chunks that may be asked for twice only to gain time. */
export const GAIN_DUPLICATES_PART = 0.02;
/** A chunk that a reader stands at for long is asked for once more when it takes so long. */
export const STANDING_HEDGE_MS = 5_000;
/** Peers asked for the same chunk at the same time; the hub may come on top. */
export const ATTEMPTS_PER_CHUNK_MAX = 2;

/** Chunks that come first when a reader is about to stall, over all readers of a blob. */
export const URGENT_WINDOW_CHUNKS = 16;
/** A steady reader with less than this ahead of it is urgent. */
export const URGENT_AHEAD_MS = 2_000;
/** A reader that has stood this long is urgent, and may take its chunk from the hub unleased. */
export const URGENT_STOOD_MS = 10_000;
/** Unleased chunk requests to the hub for standing readers or a starved download. */
export const UNLEASED_INFLIGHT_MAX = 2;

/** A request is overdue after this, or four times the usual duration if that is longer. */
export const STALL_MIN_MS = 2_000;
export const STALL_MAX_MS = 60_000;
export const STALL_FACTOR = 4;
/** What requests to other zones are taken to take until some have come. */
export const FAR_USUAL_START_MS = 2_000;
/** An overdue request is given up after this many stall times. */
export const GIVE_UP_STALLS = 4;
export const GIVE_UP_MAX_MS = 120_000;
/** An overdue request this old makes room when all who were asked for its chunk have stalled. */
export const REPLACE_MIN_MS = 8_000;
/** One to another zone at least this many of its stall times. */
export const REPLACE_STALLS = 2;

/** Without a chunk from a peer for this long, the hub is asked without a lease. */
export const STARVED_MS = 3_000;
/**
 * A download that starved, or a reader that stood, for this long takes a chunk at a time from the
 * hub even without its budget.
 */
export const STARVED_LONG_MS = 12_000;
/** Chunks the tracker lets us take without a lease that we keep at a time. */
export const BYPASS_CREDITS_MAX = 4;
/** Peers are given this long before their pace is compared with the hub's. */
export const BYPASS_WARMUP_MS = 5_000;
/** The time over which that pace is measured. */
export const BYPASS_WINDOW_MS = 2_000;
/** Peers that are this many times slower than the hub are helped out. */
export const BYPASS_GAIN = 1.25;
/** On slow lines this many times the usual duration of a request, if that is longer. */
export const STARVED_CHUNK_TIMES = 4;
/** Spread of the above, so that many agents do not turn to the hub in the same instant. */
export const STARVED_SPREAD_MS = 1_000;
/** With no other agent known for this long, the hub is read in order and without leases. */
export const ALONE_MS = 2_000;

/** Leases asked for at first; doubles while they run out early, up to the maximum. */
export const LEASE_TARGET_MIN = 16;
export const LEASE_TARGET_MAX = 64;
/** Leases remembered per blob. */
export const LEASES_MAX = 256;

/** Pause of a source after failures: full jitter between half and the whole, doubling. */
export const SOURCE_PAUSE_MIN_MS = 500;
export const SOURCE_PAUSE_MAX_MS = 30_000;
export const HUB_PAUSE_MAX_MS = 5_000;
/** The longest pause of a peer that said it is busy. */
export const BUSY_PAUSE_MAX_MS = 5_000;

/** Bytes of chunks in flight over all downloads: buffers between the network and the disk. */
export const CHUNK_MEMORY_BYTES = 96 * 1024 * 1024;
/** The part of it that chunks may take which are in the store already and wait for readers. */
export const FRESH_CHUNKS_BYTES = 32 * 1024 * 1024;
/** How long such a chunk waits for readers. */
export const FRESH_CHUNK_MS = 1_000;
/** Chunk requests that wait for such memory. */
export const CHUNK_MEMORY_QUEUE_MAX = 4_096;
/** Blobs fetched at the same time. */
export const DOWNLOADS_MAX = 256;
/** Readers of all blobs together; each holds one read buffer. */
export const READERS_MAX = 512;
/** Size of a read buffer: fewer and larger reads and writes cost less. */
export const READ_BUFFER_BYTES = 1024 * 1024;
/** With more readers than this at a time, the further ones get smaller buffers. */
export const LARGE_READERS_MAX = 32;
export const SMALL_READ_BUFFER_BYTES = 128 * 1024;
/** Sent out of memory to a client whose connection takes no bytes straight from a file now. */
export const SINK_PIECE_BYTES = 16 * 1024;
/** Unused large read buffers that are kept. */
export const READ_BUFFERS_KEPT = 16;
/** They are given back when no reader was done for this long. */
export const READ_BUFFERS_IDLE_MS = 10_000;

/** open() has an answer within this. */
export const OPEN_TIMEOUT_MS = 4_500;
/** The hub's time to answer before peers are asked beside it. */
export const PEER_HEDGE_MS = 700;
/** Time for one peer to answer a question about a blob. */
export const PEER_ANSWER_TIMEOUT_MS = 2_500;
/** Peers asked at the same time for a statement or a small blob. */
export const PEER_QUESTIONS_PARALLEL = 5;
/** And when the search has widened; members that are slow to answer come on top. */
export const PEER_QUESTIONS_MAX = 20;
/** While nothing is found, a search asks more peers at the same time after each such pause. */
export const PEER_WIDEN_MS = 400;
/** A member that has not answered for this long no longer keeps a search from asking another. */
export const PEER_SLOW_MS = 400;
/** Questions of one search under way, with those to such members. */
export const PEER_QUESTIONS_OPEN_MAX = 80;
/** When all are asked, time for members that they have just told of to become known. */
export const PEER_EXCHANGE_MS = 50;
/** Pause before a member is asked again that was busy, or whose connection ended. */
export const PEER_BUSY_MS = 300;
/** After this, a search asks nobody new: a reader waits for it. */
export const PEER_SEARCH_MS = 2_500;
/** Members one search asks at most. */
export const MEMBER_SEARCH_MAX = 100;
/** The same of a search that goes on in the background, and the time it takes at most. */
export const FAR_SEARCH_MEMBERS_MAX = 2_000;
export const FAR_SEARCH_MS = 60_000;
/** Such searches at the same time, for grants and for tags each. */
export const FAR_SEARCHES_MAX = 4;
/** Peers remembered for having had an answer; they are asked first. */
export const HELPFUL_PEERS_KEPT = 16;
/** Such a member is asked after all others for this long, unless it has answered since. */
export const SLOW_PEER_MS = 30_000;
/** Members remembered for that. */
export const SLOW_PEERS_KEPT = 2_048;
/** Members a download tries at a time when no tracker names any. */
export const MEMBER_SAMPLE = 20;
/** Whole time for a blob of at most 4 MiB. */
export const SMALL_TIMEOUT_MS = 20_000;
/** Blobs of at most 4 MiB fetched at the same time. */
export const SMALL_FETCHES_MAX = 256;

/** One chunk straight from the source, with its retries. */
export const DIRECT_CHUNK_TIMEOUT_MS = 20_000;
/** No byte for this long ends a reader, if whoever reads has not given up before. */
export const READER_STALL_MS = 60_000;
/** No progress for this long ends a download; the next request starts it anew. */
export const DOWNLOAD_GIVE_UP_MS = 60_000;
/** Silence of a single connection that ends a pass-through. */
export const PASSTHROUGH_STALL_MS = 20_000;
/** How often a download looks at its clock. */
export const TICK_MS = 250;
/** Time for one chunk from the hub; silence shorter than this is the planner's matter. */
export const HUB_CHUNK_TIMEOUT_MS = 120_000;

/** Time between announcements while something is being fetched, and the least after a nudge. */
export const ANNOUNCE_ACTIVE_MS = 300;
export const ANNOUNCE_SPACING_MS = 100;
/** Time between full announcements. */
export const ANNOUNCE_FULL_MS = 10_000;
/** An announcement without an answer has failed after this. */
export const ANNOUNCE_TIMEOUT_MS = 2_000;
/** Pause after a failed announcement, doubling. */
export const ANNOUNCE_RETRY_MIN_MS = 500;
export const ANNOUNCE_RETRY_MAX_MS = 5_000;

/** How often the peer that brought least is replaced by another, and the spread of it. */
export const REVIEW_MS = 2_000;
export const REVIEW_SPREAD_MS = 1_000;
/** Peers replaced at a time. */
export const REVIEW_PARTINGS_MAX = 4;
/** A peer linked for less than this is not judged. */
export const REVIEW_GRACE_MS = 3_000;
/** Peers one download is linked to, and how many of them of our own zone. */
export const LINKS_MAX = 24;
export const NEAR_LINKS_MAX = 20;
/** Links to our own zone that are enough for hardly any to others, and how many those are. */
export const NEAR_LINKS_MIN = 8;
export const FAR_LINKS_MAX = 4;
/** Peers the tracker named beyond those, kept for when one is let go. */
export const SPARE_PEERS_MAX = 32;
/** To link to a peer, and to show it a grant. */
export const LINK_TIMEOUT_MS = 5_000;
/** How long a peer may hold an availability question back. */
export const HAVE_WAIT_MS = 1_000;
/** Time between two such questions to one peer, at least and at most. */
export const HAVE_SPACING_MS = 50;
export const HAVE_SPACING_MAX_MS = 500;
/** In between, as long as this many chunks take. */
export const HAVE_CHUNKS = 6;
/** Time between looks at a peer that holds everything. */
export const HAVE_COMPLETE_MS = 10_000;
/** A peer that has nothing for us this many times in a row is let go for a while. */
export const LINK_MISSES_MAX = 3;
/** Pause before such a peer is asked again, and for how long it is left alone when it is let go. */
export const LINK_RETRY_MS = 1_000;
export const LINK_REST_MS = 10_000;
/** Peers let go that a download remembers. */
export const LINK_RESTS_MAX = 256;
/** A grant is presented to a linked peer again after this long. */
export const GRANT_RENEW_MS = 10 * 60_000;

/** Grants kept, least recently used leave first; and digests in all of them. */
export const GRANTS_MAX = 1_000;
export const GRANT_INDEX_MAX = 200_000;
/** From a new grant to the file for the next run. */
export const GRANTS_SAVE_DELAY_MS = 5_000;
/** That file; a larger one is not read. */
export const GRANTS_FILE_MAX_BYTES = 24 * 1024 * 1024;
/** A grant with less life than this is renewed while the hub can be asked. */
export const GRANT_FRESH_MS = 5 * 60_000;
/** How long grants live on beyond their end while the hub cannot be asked. */
export const GRANT_OUTAGE_GRACE_MS = 60 * 60_000;
/** Time for the hub to answer a question for a grant. */
export const GRANT_TIMEOUT_MS = 3_000;
/** Requests for one chunk when it is streamed past a full store. */
export const DIRECT_ATTEMPTS_MAX = 4;
/** Readers that are served past the store at the same time. */
export const DIRECT_READERS_MAX = 32;
/** After the disk was full, nothing is stored for this long. */
export const NO_ROOM_MS = 30_000;
/** Blobs of resolved images that wait for a look at the store of this node's runtime. */
export const SHARES_WAITING_MAX = 1_024;
/** A download that nobody has read for this long gives way to those that are read. */
export const READERLESS_MS = 5_000;
/** Chunks in flight, over all downloads that nobody reads, while others are read. */
export const UNREAD_CHUNKS_MAX = 1;
/** Chunks, over all downloads, that are fetched while the hub has not signed their leaves yet. */
export const EARLY_CHUNKS_MAX = 8;
/** Layers of which the hub is told ahead at the same time. */
export const AHEAD_QUESTIONS_MAX = 4;
/** Least time between two questions for leaves of a blob that the hub still fetches. */
export const PROVISIONAL_SPACING_MS = 25;
/** Pause when the hub tells nothing of such a blob, doubling. */
export const PROVISIONAL_RETRY_MIN_MS = 200;
export const PROVISIONAL_RETRY_MAX_MS = 5_000;
/** Readers of one such blob that are named when it turns out to be wrong. */
export const PROVISIONAL_READERS_KEPT = 1_024;
/** Repositories that not everybody may read, of which this node keeps what it reads them with. */
export const LENT_TOKENS_MAX = 4096;
