/** A multipart upload that a consumer opens itself: noted before its first part, aborted unless it was released. */
import { forgetUpload, noteUpload } from "../stores/open-upload.ts";
import type { Workbench } from "./workbench.ts";

export interface OpenedUpload {
  uploadId: string;
  /** It was completed, or the asset watches over it from now on: nothing is left to abort here. */
  release(): Promise<void>;
  /** For a `finally`: aborts what was not released, and never throws. */
  close(): Promise<void>;
}

/** Should this consumer die, the timer aborts what is noted and old. */
export async function openUpload(
  { env, wasabi }: Workbench,
  { key, fileId }: { key: string; fileId: string },
): Promise<OpenedUpload> {
  const uploadId = await wasabi.createMultipart(key);
  let open = true;
  const end = async (abort: boolean) => {
    if (!open) return;
    if (abort) await wasabi.abortMultipart(key, uploadId);
    open = false;
    await forgetUpload(env.CATALOGUE, uploadId);
  };
  // A failed clean-up must not hide why the work failed; the note stays, and the timer finishes it.
  const close = () => end(true).catch(() => undefined);
  try {
    await noteUpload(env.CATALOGUE, { uploadId, key, fileId, openedAt: new Date().toISOString() });
  } catch (error) {
    await close();
    throw error;
  }
  return { uploadId, release: () => end(false), close };
}
