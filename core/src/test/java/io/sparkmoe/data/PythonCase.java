package io.sparkmoe.data;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * A text with what Python's tokenizers 0.23.3 made of it, written by
 * core/src/test/python/tokenizer_fixture.py.
 *
 * @param text to encode
 * @param ids of the tokenizer in python-bpe-600.json
 * @param words of ByteLevel(add_prefix_space=False, use_regex=True)
 */
record PythonCase(String text, int[] ids, List<String> words) {

  static List<PythonCase> all() {
    ObjectMapper mapper =
        new ObjectMapper().enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES);
    List<PythonCase> cases = new ArrayList<>();
    try {
      for (String line : resource("python-bpe-600-cases.jsonl").split("\n")) {
        cases.add(mapper.readValue(line, PythonCase.class));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return cases;
  }

  static String tokenizerJson() {
    return resource("python-bpe-600.json");
  }

  private static String resource(String name) {
    try (InputStream in = PythonCase.class.getResourceAsStream(name)) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
