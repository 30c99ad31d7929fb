import { expect, test } from "vitest";
import { type DamageTerms, judgePass, PassReader } from "./damage.ts";

const FRAME = 0.04;
const moments = (count: number, except: (n: number) => boolean = () => false, lastsSeconds = FRAME) =>
  Array.from({ length: count }, (_, n) => ({ atSeconds: n * lastsSeconds, lastsSeconds })).filter((_, n) => !except(n));
const between = (from: number, to: number) => (n: number) => n >= from && n < to;
const terms: DamageTerms = {
  frameSeconds: FRAME,
  startSeconds: 0,
  expectedEndSeconds: 0,
  mayLackPackets: false,
  movesUp: false,
  isExcerpt: false,
};
const picture = (packets = moments(100), decoded = packets) => ({ packets, decoded, areTimed: true });
const judge = (decoded: ReturnType<typeof moments>, changes: Partial<DamageTerms> = {}, packets = moments(100)) =>
  judgePass({ picture: picture(packets, decoded), sounds: [] }, { ...terms, ...changes });

test("all that came was decoded", () => {
  expect(judge(moments(100))).toEqual({
    ...{ damage: [], pictureShare: 1, soundShares: [] },
    ...{ pictureEndSeconds: 4, trackEndSeconds: 4 },
  });
});

test("packets of which nothing came are damage, those close together once", () => {
  const lost = (n: number) => between(25, 50)(n) || n === 51 || n === 80;
  const { damage, pictureShare } = judge(moments(100, lost));
  expect(damage).toEqual([
    { fromSeconds: 1, toSeconds: 2.08, what: "picture" },
    { fromSeconds: 3.2, toSeconds: 3.24, what: "picture" },
  ]);
  expect(pictureShare).toBeCloseTo(0.73, 6);
});

test("the last picture is known, and when its track would have ended", () => {
  expect(judge(moments(100, between(75, 100)))).toMatchObject({ pictureEndSeconds: 3, trackEndSeconds: 4 });
});

test("nothing decodes", () => {
  expect(judge([])).toMatchObject({ pictureShare: 0, damage: [{ fromSeconds: 0, toSeconds: 4, what: "picture" }] });
});

test("times are the rendition's", () => {
  const { damage } = judge(moments(100, between(25, 50)), { startSeconds: 0.08 });
  expect(damage).toEqual([{ fromSeconds: 0.92, toSeconds: 1.92, what: "picture" }]);
});

test("what comes before a stream's first picture, and a broken last one, are no damage; in a file they are", () => {
  const late = moments(100, between(0, 10));
  const isExcerpt = true;
  expect(judge(late, { isExcerpt }).damage).toEqual([]);
  expect(judge(moments(100, between(99, 100)), { isExcerpt }).damage).toEqual([]);
  expect(judge(moments(100, between(95, 100)), { isExcerpt }).damage).not.toEqual([]);
  expect(judge(moments(100, between(99, 100))).damage).toHaveLength(1);
  expect(judge(late).damage).toEqual([{ fromSeconds: 0, toSeconds: 0.4, what: "picture" }]);
});

test("packets that never came are damage where no index tells of a pause", () => {
  const came = moments(100, between(25, 50));
  expect(judge(came, { mayLackPackets: true }, came).damage).toEqual([
    { fromSeconds: 1, toSeconds: 2, what: "picture" },
  ]);
  expect(judge(came, {}, came).damage).toEqual([]);
  const cut = moments(50);
  const toTheEnd = { mayLackPackets: true, expectedEndSeconds: 4 };
  expect(judge(cut, toTheEnd, cut).damage).toEqual([{ fromSeconds: 2, toSeconds: 4, what: "picture" }]);
});

test("where a packet's place alone tells its time, what lacks does so at the end: a gap is a pause", () => {
  const came = moments(75, between(25, 30));
  const untimed = { mayLackPackets: true, movesUp: true, expectedEndSeconds: 4 };
  expect(judge(came, untimed, came).damage).toEqual([{ fromSeconds: 3, toSeconds: 4, what: "picture" }]);
  const sound = moments(200, between(50, 100), 0.02);
  const sounds = [{ packets: sound, decoded: sound }];
  const withSound = judgePass({ picture: picture(came), sounds }, { ...terms, ...untimed });
  expect(withSound.damage.map(({ what }) => what)).toEqual(["picture"]);
});

test("a list that would be too long has neighbours as one", () => {
  const { damage } = judge(
    moments(9_000, (n) => n % 6 === 0),
    {},
    moments(9_000),
  );
  expect(damage.length).toBeLessThanOrEqual(50);
  expect(damage[0]?.fromSeconds).toBe(0);
});

test("sound: what was not decoded, of each track", () => {
  const packets = moments(200, () => false, 0.02);
  const sounds = [
    { packets, decoded: moments(200, between(50, 100), 0.02) },
    { packets, decoded: [] },
  ];
  const { damage, soundShares } = judgePass({ picture: picture(), sounds: sounds.slice(0, 1) }, terms);
  expect(damage).toEqual([{ fromSeconds: 1, toSeconds: 2, what: "sound" }]);
  expect(soundShares).toEqual([0.75]);
  expect(judgePass({ picture: picture(), sounds }, terms).soundShares).toEqual([0.75, 0]);
});

test("sound of a stream: what comes before the first that decodes, and a broken last packet, are no damage", () => {
  const packets = moments(200, () => false, 0.02);
  const decoded = moments(200, (n) => n < 2 || n === 199, 0.02);
  const judgeSound = (isExcerpt: boolean) =>
    judgePass({ picture: picture(), sounds: [{ packets, decoded }] }, { ...terms, isExcerpt });
  expect(judgeSound(true)).toMatchObject({ damage: [], soundShares: [1] });
  expect(judgeSound(false).damage).toHaveLength(2);
});

test("sound packets that never came are damage where no index tells of a pause", () => {
  const came = moments(200, between(50, 100), 0.02);
  const judgeSound = (mayLackPackets: boolean) =>
    judgePass({ picture: picture(), sounds: [{ packets: came, decoded: came }] }, { ...terms, mayLackPackets }).damage;
  expect(judgeSound(true)).toEqual([{ fromSeconds: 1, toSeconds: 2, what: "sound" }]);
  expect(judgeSound(false)).toEqual([]);
});

test("framecrc's lines, also of packets without a time of their own", () => {
  const reader = new PassReader();
  for (const line of [
    "#software: Lavf59.27.100",
    "#tb 0: 1/25",
    "#tb 1: 1/90000",
    "0,          1, -9223372036854775808,        1,     9051, 0x00000000",
    "0,          2,          3,        1,     9051, 0x00000000, F=0x0",
    "1,      90000,      90000,     3600,      472, 0xb3ec1839",
    "2,          0,          0,     1024,      280, 0xb6318cb5",
  ])
    reader.line(line);
  expect(reader.tracks(1)).toEqual({
    picture: {
      packets: [
        { atSeconds: 0.04, lastsSeconds: 0.04 },
        { atSeconds: 0.12, lastsSeconds: 0.04 },
      ],
      decoded: [{ atSeconds: 1, lastsSeconds: 0.04 }],
      areTimed: false,
    },
    sounds: [{ packets: [{ atSeconds: 0, lastsSeconds: 0 }], decoded: [] }],
  });
});
