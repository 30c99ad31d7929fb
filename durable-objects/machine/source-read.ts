/**
 * What a lease has read of its original, told to the ledger of egress once a UTC day, and when the lease ends. Derived from
 * the two states, so that no way for a lease to end can forget it. Pure.
 */
import type { StoredAsset } from "../../schemas/asset-state.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import type { Effect } from "./effect.ts";

const dayOf = (atMs: number) => new Date(atMs).toISOString().slice(0, 10);

/** The figure only rises under one lease: told twice, or overtaken by a later one, it adds nothing. */
export function countReads(
  before: StoredAsset | null,
  { job }: StoredAsset,
  event: AssetEvent,
  atMs: number,
): Effect[] {
  const lease = before?.job.lease ?? null;
  if (before === null || lease === null) return [];
  const { generation } = before.job;
  const read = { ...lease.read };
  const effects: Effect[] = [];
  const count = () => {
    const bytes = read.toldBytes - read.countedBytes;
    if (bytes > 0) effects.push({ type: "CountSourceRead", generation, day: dayOf(read.toldAtMs), bytes });
    read.countedBytes = read.toldBytes;
  };
  const toldBytes = toldIn(event);
  if (toldBytes > read.toldBytes) {
    if (dayOf(read.toldAtMs) < dayOf(atMs)) count();
    read.toldBytes = toldBytes;
    // A day that is counted stays so: by a clock that was set back it would be told again, and the ledger takes it once.
    read.toldAtMs = Math.max(read.toldAtMs, atMs);
  }
  if (job.lease === null) count();
  else job.lease.read = read;
  return effects;
}

function toldIn(event: AssetEvent): number {
  return "sourceBytes" in event ? (event.sourceBytes ?? 0) : 0;
}
