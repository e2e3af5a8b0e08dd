/** Several files as one zip in memory: for pages without a service worker, within what such pages receive. */

export interface ZipEntry {
  /** `/` between parts. */
  path: string;
  /** `null` for an empty folder. */
  content: Blob | null;
}

export async function zipOf(entries: readonly ZipEntry[]): Promise<Blob> {
  const { downloadZip } = await import('client-zip');
  const inputs = entries.map(({ path, content }) =>
    content === null ? { name: `${path}/` } : { name: path, input: content.stream(), size: content.size },
  );
  return downloadZip(inputs).blob();
}
