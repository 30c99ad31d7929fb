/** What a seed promises: the same runs again, and in many of them everything. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { phases } from "./fault-phase.ts";
import { describeFault, faultsIn, planRun } from "./fault-plan.ts";

const seedAndRun = [fc.nat(), fc.integer({ min: 1, max: 2_000 })] as const;
const nameOf = (phase: string, fault: Parameters<typeof describeFault>[0]) => `${describeFault(fault)} ${phase}`;

test("a run follows from the seed and its number alone", () => {
  fc.assert(
    fc.property(...seedAndRun, (seed, run) => {
      expect(planRun(seed, run)).toEqual(planRun(seed, run));
    }),
  );
  expect(planRun(1, 1)).not.toEqual(planRun(2, 1));
});

test("one to three strikes, in the order of their phases, each of what its phase has, and soon lifted", () => {
  fc.assert(
    fc.property(...seedAndRun, (seed, run) => {
      const { strikes, evicts, doom, source } = planRun(seed, run);
      expect(strikes.length).toBeGreaterThanOrEqual(1);
      expect(strikes.length).toBeLessThanOrEqual(3);
      const order = strikes.map(({ phase }) => phases.indexOf(phase));
      expect(order).toEqual([...order].sort((a, b) => a - b));
      for (const { phase, fault, forMs } of strikes) {
        expect(faultsIn(phase)).toContainEqual(fault);
        expect(forMs).toBeLessThan(5_000);
        const isOfEviction = phase === "evicting" || phase === "promoting";
        expect(isOfEviction).toBe(evicts);
        if (fault.kind === "link" && fault.link === "worker-origin") expect(source).toBe("url");
        if (doom !== null) expect(["archiving", "encoding"]).toContain(phase);
      }
    }),
  );
});

test("enough runs of any seed strike with every fault in every phase, and doom for every reason", () => {
  const cases = phases.flatMap((phase) => faultsIn(phase).map((fault) => nameOf(phase, fault)));
  const plans = Array.from({ length: 2 * cases.length }, (_, index) => planRun(3, index + 1));
  const struck = plans.flatMap(({ strikes }) => strikes.map(({ phase, fault }) => nameOf(phase, fault)));
  expect([...new Set(struck)].sort()).toEqual([...new Set(cases)].sort());
  expect(new Set(plans.map(({ doom }) => doom)).size).toBe(6);
});
