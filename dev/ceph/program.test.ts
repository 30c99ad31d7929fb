import { expect, test } from "vitest";
import { debianPackages, requirePrograms } from "./program.ts";

test("a machine without Ceph is told what to install", () => {
  for (const name of debianPackages) expect(() => requirePrograms("/nowhere:")).toThrow(name);
  expect(() => requirePrograms("")).toThrow("missing: ceph, ceph-mon, ceph-osd, monmaptool, radosgw, radosgw-admin");
});
