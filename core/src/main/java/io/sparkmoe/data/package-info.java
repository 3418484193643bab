/**
 * Text to tokens to rows: tokenizers, packing, and the order in which rows are trained on. Start at
 * {@link io.sparkmoe.data.Tokenizer}.
 */
package io.sparkmoe.data;
