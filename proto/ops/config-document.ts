import { LineCounter, isMap, isNode, isScalar, isSeq, parseDocument } from 'yaml';
import type { Node } from 'yaml';
import type { KeyPath } from './config-schema.ts';
import { CONFIG_FILE_MAX_BYTES, CONFIG_PROBLEMS_MAX } from './constants.ts';
import { ConfigError } from './errors.ts';

/** A parsed YAML document that still knows where each key stands. */
export type ConfigDocument = {
  value: unknown;
  /** Line, counted from 1, of the deepest part of the path that is in the document. */
  lineOf(path: KeyPath): number | undefined;
};

/**
 * Parses one YAML document of at most CONFIG_FILE_MAX_BYTES.
 * @throws ConfigError for bad syntax, duplicate keys, several documents
 */
export function parseDocumentText(text: string, source: string): ConfigDocument {
  if (text.length > CONFIG_FILE_MAX_BYTES) {
    const message = `longer than ${CONFIG_FILE_MAX_BYTES} bytes`;
    throw new ConfigError(source, [{ path: '', message, origin: undefined }]);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    const problems = document.errors.slice(0, CONFIG_PROBLEMS_MAX).map((err) => ({
      path: '',
      message: `not valid YAML: ${err.message}`,
      origin: { line: lines.linePos(err.pos[0]).line },
    }));
    throw new ConfigError(source, problems);
  }
  return {
    value: valueOf(document, source),
    lineOf: (path) => {
      const offset = offsetOf(document.contents, path);
      return offset === undefined ? undefined : lines.linePos(offset).line;
    },
  };
}

/** The error of the parser is not told: what stands behind the star may be a password. */
function valueOf(document: ReturnType<typeof parseDocument>, source: string): unknown {
  try {
    return document.toJS();
  } catch {
    const message =
      'not valid YAML: an alias (*name) without its anchor, or too many of them; ' +
      'put a text that begins with * in quotes';
    throw new ConfigError(source, [{ path: '', message, origin: undefined }]);
  }
}

function offsetOf(root: Node | null, path: KeyPath): number | undefined {
  let node: unknown = root;
  let offset: number | undefined;
  for (const key of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === key);
      if (pair === undefined || !isScalar(pair.key)) return offset;
      offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof key === 'number') {
      node = node.items[key];
      offset = isNode(node) ? (node.range?.[0] ?? offset) : offset;
    } else {
      return offset;
    }
  }
  return offset;
}
