/**
 * As much of a terminal as drawing over oneself needs: text that wraps, lines that are broken again when its width changes,
 * and the few control sequences that are used. Any other is refused.
 */
const token = /[\n\r]|\p{Cc}\[(\??\d*)([A-Za-z])|./gu;

export class Screen {
  columns: number;
  rows: number;
  readonly isTTY = true;
  cursorHidden = false;
  /** How often a line was too wide for its row. */
  wraps = 0;
  #lines: { text: string[]; goesOn: boolean }[] = [{ text: [], goesOn: false }];
  #row = 0;
  #column = 0;

  constructor(columns: number, rows: number) {
    this.columns = columns;
    this.rows = rows;
  }

  write(text: string): boolean {
    for (const [character, argument = "", letter] of text.matchAll(token)) {
      if (letter !== undefined) this.#control(argument, letter);
      else if (character === "\r") this.#column = 0;
      else if (character === "\n") this.#feed();
      else this.#put(character);
    }
    return true;
  }

  #control(argument: string, letter: string): void {
    const line = this.#lines[this.#row];
    if (line === undefined) throw new Error("the cursor has left the screen");
    if (letter === "A") {
      // What has scrolled away is out of reach.
      this.#row = Math.max(0, this.#lines.length - this.rows, this.#row - Number(argument || 1));
    } else if (letter === "K" || letter === "J") {
      line.text.length = Math.min(line.text.length, this.#column);
      line.goesOn = false;
      if (letter === "J") this.#lines.length = this.#row + 1;
    } else if (argument === "?25") this.cursorHidden = letter === "l";
    else throw new Error(`unknown: ESC [ ${argument} ${letter}`);
  }

  #feed(goesOn = false): void {
    const line = this.#lines[this.#row];
    if (line !== undefined) line.goesOn = goesOn;
    this.#row += 1;
    this.#column = 0;
    if (this.#row === this.#lines.length) this.#lines.push({ text: [], goesOn: false });
  }

  #put(character: string): void {
    if (this.#column === this.columns) {
      this.wraps += 1;
      this.#feed(true);
    }
    const text = this.#lines[this.#row]?.text ?? [];
    text[this.#column] = character;
    this.#column += 1;
  }

  /** The cursor is taken to stand below everything. */
  resize(columns: number, rows = this.rows): void {
    const whole: string[][] = [[]];
    for (const { text, goesOn } of this.#lines) {
      whole.at(-1)?.push(...text);
      if (!goesOn) whole.push([]);
    }
    whole.pop();
    this.columns = columns;
    this.rows = rows;
    this.#lines = whole.flatMap((text) => {
      const count = Math.max(1, Math.ceil(text.length / columns));
      return Array.from({ length: count }, (_, index) => ({
        text: text.slice(index * columns, (index + 1) * columns),
        goesOn: index < count - 1,
      }));
    });
    this.#row = this.#lines.length - 1;
    this.#column = this.#lines.at(-1)?.text.length ?? 0;
  }

  /** Everything that was ever written and not erased, row by row. */
  text(): string[] {
    const rows = this.#lines.map(({ text }) =>
      Array.from(text, (character) => character ?? " ")
        .join("")
        .trimEnd(),
    );
    while (rows.at(-1) === "") rows.pop();
    return rows;
  }
}
