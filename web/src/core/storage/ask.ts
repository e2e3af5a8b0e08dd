/** What asks the browser about files. */

const asked = new Set<{ handle: FileSystemHandle }>();

/**
 * Asks a handle something, and holds on to it until it has answered: Chromium drops a question, and never settles its
 * promise, when the handle that was asked is collected as garbage meanwhile.
 */
export async function ask<Handle extends FileSystemHandle, Value>(
  handle: Handle,
  question: (handle: Handle) => Promise<Value>,
): Promise<Value> {
  const entry = { handle };
  asked.add(entry);
  try {
    return await question(handle);
  } finally {
    asked.delete(entry);
  }
}
