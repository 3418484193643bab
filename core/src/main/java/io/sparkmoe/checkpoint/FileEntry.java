package io.sparkmoe.checkpoint;

import com.fasterxml.jackson.annotation.JsonProperty;

/**
 * A file of a checkpoint as its manifest lists it.
 *
 * @param name path; inside the checkpoint's folder when it stands in a manifest
 * @param sizeBytes size
 * @param sha256 checksum of the whole file, in hex
 */
public record FileEntry(
    @JsonProperty("name") String name,
    @JsonProperty("sizeBytes") long sizeBytes,
    @JsonProperty("sha256") String sha256) {}
