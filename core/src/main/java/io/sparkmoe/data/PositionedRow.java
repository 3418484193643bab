package io.sparkmoe.data;

import java.io.Serializable;

/**
 * A row and one place where it comes in the training order.
 *
 * @param position in the endless order of {@link RowOrder}
 * @param row to train on there
 */
public record PositionedRow(long position, TokenRow row) implements Serializable {}
