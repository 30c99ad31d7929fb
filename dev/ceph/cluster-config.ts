/** Ceph as one node on loopback: its identity, kept in the directory, and its configuration, written at every start. */
import { randomInt, randomUUID } from "node:crypto";
import { join } from "node:path";
import { z } from "zod";

export const ClusterConfig = z.strictObject({
  directory: z.string().min(1),
  port: z.int().min(1).max(65535),
  bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/),
  accessKeyId: z.string().min(1),
  secretAccessKey: z.string().min(1),
});
export type ClusterConfig = z.infer<typeof ClusterConfig>;

export const ClusterIdentity = z.strictObject({
  fsid: z.uuid(),
  osd: z.uuid(),
  /** The monitor's map holds its address for good. One of their own in 127/8 keeps several clusters apart. */
  address: z.ipv4(),
});
export type ClusterIdentity = z.infer<typeof ClusterIdentity>;

export function makeIdentity(): ClusterIdentity {
  const byte = () => randomInt(1, 255);
  return { fsid: randomUUID(), osd: randomUUID(), address: `127.${byte()}.${byte()}.${byte()}` };
}

export const identityPath = (directory: string) => join(directory, "cluster.json");
export const configPath = (directory: string) => join(directory, "ceph.conf");
export const monitorAddress = ({ address }: ClusterIdentity) => `v1:${address}:6789`;

/** A sparse file: the disk holds what was written. */
const diskBytes = 64 * 1024 ** 3;

export function cephConf({ directory, port }: Pick<ClusterConfig, "directory" | "port">, identity: ClusterIdentity) {
  return `[global]
fsid = ${identity.fsid}
mon initial members = a
mon host = ${monitorAddress(identity)}
public addr = ${identity.address}
cluster addr = ${identity.address}
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
run dir = ${directory}
admin socket =
log file = ${join(directory, "$name.log")}
crash dir = ${directory}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 0
# A new cluster takes some twenty decisions one after the other, each a second apart by default.
paxos propose interval = 0.05
paxos min wait = 0.01

[mon]
mon data = ${join(directory, "mon")}

[osd]
osd data = ${join(directory, "osd")}
osd objectstore = bluestore
osd memory target = 1073741824
# Without cephx the OSD's own commands at its start are refused ("wrong fsid"): its place is set when it is made.
osd crush update on start = false
osd class update on start = false
bluestore block create = true
bluestore block size = ${diskBytes}

[client.radosgw]
rgw data = ${join(directory, "rgw")}
rgw frontends = beast endpoint=127.0.0.1:${port}
rgw thread pool size = 64
`;
}
