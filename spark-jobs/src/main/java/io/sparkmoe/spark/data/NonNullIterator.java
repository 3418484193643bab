package io.sparkmoe.spark.data;

import java.util.Iterator;
import java.util.NoSuchElementException;

/** An iterator over what a source gives, nulls left out; one element is looked ahead. */
abstract class NonNullIterator<T> implements Iterator<T> {

  private T next;

  protected abstract boolean hasSource();

  protected abstract T nextOrNull();

  @Override
  public final boolean hasNext() {
    while (next == null && hasSource()) {
      next = nextOrNull();
    }
    return next != null;
  }

  @Override
  public final T next() {
    if (!hasNext()) {
      throw new NoSuchElementException();
    }
    T result = next;
    next = null;
    return result;
  }
}
