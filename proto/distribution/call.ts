/** One answer on the way to that of a call: of a token service, a redirect, or the last one. */
export type SeenAnswer = {
  url: URL;
  /** Of the registry itself. */
  isOwn: boolean;
  status: number;
  /** A header, several lines of it as one list; empty when there is none. */
  header: (name: string) => string;
};

export type CallOptions = {
  signal?: AbortSignal | undefined;
  authorization?: string | undefined;
  /** Sees every answer as it comes. */
  onAnswer?: ((answer: SeenAnswer) => void) | undefined;
};
