package io.sparkmoe.data;

/**
 * The 256 printable characters that ByteLevel tokenizers write bytes as, so that a vocabulary is
 * valid JSON text. Printable Latin-1 bytes stand for themselves, the other 68 are mapped, in
 * ascending order, to U+0100 and the characters after it (GPT-2's bytes_to_unicode [1]).
 *
 * <p>[1] openai/gpt-2, src/encoder.py.
 */
final class ByteLevelAlphabet {

  private static final char[] CHARACTERS = characters();

  private ByteLevelAlphabet() {}

  /** The character that stands for a byte in [0, 255]. */
  static char characterOf(int unsignedByte) {
    return CHARACTERS[unsignedByte];
  }

  /** The byte that a character stands for, or -1 when it stands for none. */
  static int byteOf(char character) {
    if (character < 256 && CHARACTERS[character] == character) {
      return character;
    }
    for (int b = 0; b < 256; b++) {
      if (CHARACTERS[b] == character) {
        return b;
      }
    }
    return -1;
  }

  private static char[] characters() {
    char[] characters = new char[256];
    char next = 0x100;
    for (int b = 0; b < 256; b++) {
      boolean printable = b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE;
      characters[b] = printable ? (char) b : next++;
    }
    return characters;
  }
}
