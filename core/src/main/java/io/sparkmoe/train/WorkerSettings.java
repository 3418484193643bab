package io.sparkmoe.train;

import io.sparkmoe.data.RowSource;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.io.Store;
import java.util.List;

/**
 * What a rank is given besides the run's config.
 *
 * @param training the rank's rows by step
 * @param validation all validation rows; each rank evaluates its slice
 * @param store folder of the run, null = write nothing
 * @param threads compute threads of this rank
 * @param memoryLimitBytes off-heap bytes that this rank may use
 */
public record WorkerSettings(
    RowSource training,
    List<TokenRow> validation,
    Store store,
    int threads,
    long memoryLimitBytes) {}
