/**
 * Lines at the end of a terminal's output that are drawn over themselves. Counted are the rows that they take now: a
 * terminal that has become narrower breaks each line that no longer fits into several.
 */
export type BlockTerminal = { columns?: number | undefined; rows?: number | undefined; write(text: string): unknown };

export type RedrawnBlock = {
  /** As many of the lines as are in view: what scrolls away cannot be redrawn. */
  draw(lines: readonly string[]): void;
  /** Every line, to stay: the next block begins below. */
  leave(lines: readonly string[]): void;
  clear(): void;
};

const defaultColumns = 80;
const defaultRows = 24;

/** One column is left free: a full last column wraps on some terminals. */
export function blockColumns({ columns }: BlockTerminal): number {
  return Math.max(1, (columns ?? defaultColumns) - 1);
}

/** @param widthOf the columns that a line takes; none may be wider than `blockColumns` */
export function createRedrawnBlock(terminal: BlockTerminal, widthOf: (line: string) => number): RedrawnBlock {
  let widths: readonly number[] = [];
  const toTop = () => {
    const columns = Math.max(1, terminal.columns ?? defaultColumns);
    const rows = widths.reduce((sum, width) => sum + Math.max(1, Math.ceil(width / columns)), 0);
    return rows === 0 ? "" : `\u001b[${rows}A\r`;
  };
  const write = (lines: readonly string[]) => {
    // Erased line by line and not all at once: a block that is blank for a moment flickers.
    terminal.write(`${toTop()}${lines.map((line) => `${line}\u001b[K\n`).join("")}\u001b[J`);
  };
  return {
    draw(lines) {
      const inView = lines.slice(0, Math.max(1, (terminal.rows ?? defaultRows) - 1));
      write(inView);
      widths = inView.map(widthOf);
    },
    leave(lines) {
      write(lines);
      widths = [];
    },
    clear() {
      if (widths.length > 0) terminal.write(`${toTop()}\u001b[J`);
      widths = [];
    },
  };
}
