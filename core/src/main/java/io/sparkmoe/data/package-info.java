/**
 * Text to tokens to rows: chat template, tokenizers, packing, and the order in which rows are
 * trained on. Start at {@link io.sparkmoe.data.Tokenizer}.
 */
package io.sparkmoe.data;
