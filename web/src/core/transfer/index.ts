/** Moves files and text between two devices, as a state machine: see `Exchange`, and `docs/protocol/transfer.md`. */
export { type Config, DEFAULT_CONFIG } from './config';
export { display } from './display';
export { Exchange, type ExchangeOptions, TransferError, type TransferProblem } from './exchange';
export { type PieceHasher, fileRoot, loadPieceHasher, pieceCount, pieceLength } from './hash';
export { JournalError, type JournalRecord, Kept, encodeRecords } from './journal';
export { Manifest, ManifestError, type ManifestProblem, sizeOf } from './manifest';
export { PathError, SafePath } from './name';
export type { Output, Party, Placement, ReadRequest, ReadResult, TransferEvent, WriteFailure } from './output';
export type { Progress } from './progress';
export { TextError, type TextProblem } from './texts';
