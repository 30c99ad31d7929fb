/** The runner's entry. Everything else is loaded once memory is set up for it. */
import "./small-memory.ts";

await import("./runner.ts");
