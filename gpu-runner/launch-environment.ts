/**
 * What a runner's process is to be started with to stay small. It has no say in that itself once it runs; without it, it
 * works as well, and takes some 10 MB more.
 */
export const launchEnvironment = {
  // glibc would take the size of the first large piece that is freed for a small one, and from then on keep what is freed.
  MALLOC_MMAP_THRESHOLD_: "131072",
  MALLOC_TRIM_THRESHOLD_: "131072",
  MALLOC_ARENA_MAX: "1",
} as const;
