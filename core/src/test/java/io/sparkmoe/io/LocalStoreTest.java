package io.sparkmoe.io;

import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;

class LocalStoreTest extends StoreContract {

  @TempDir Path folder;

  @Override
  protected Store open() {
    return new LocalStore(folder.resolve("not/there/yet"));
  }
}
