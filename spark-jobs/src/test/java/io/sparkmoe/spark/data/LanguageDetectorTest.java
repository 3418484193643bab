package io.sparkmoe.spark.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class LanguageDetectorTest {

  /** The first article of the Universal Declaration of Human Rights. */
  private static Map<String, String> samples() {
    Map<String, String> samples = new LinkedHashMap<>();
    samples.put(
        "bg",
        "Всички хора се раждат свободни и равни по достойнство и права. Те са надарени с разум и съвест.");
    samples.put(
        "cs",
        "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv. Jsou nadáni rozumem.");
    samples.put(
        "da",
        "Alle mennesker er født frie og lige i værdighed og rettigheder. De er udstyret med fornuft.");
    samples.put(
        "de",
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft begabt.");
    samples.put(
        "el",
        "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.");
    samples.put(
        "en",
        "All human beings are born free and equal in dignity and rights. They are endowed with reason.");
    samples.put(
        "es",
        "Todos los seres humanos nacen libres e iguales en dignidad y derechos, dotados de razón.");
    samples.put(
        "et", "Kõik inimesed sünnivad vabadena ja võrdsetena oma väärikuselt ja õigustelt.");
    samples.put(
        "fi", "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan.");
    samples.put(
        "fr",
        "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison.");
    samples.put("hu", "Minden emberi lény szabadon születik és egyenlő méltósága és joga van.");
    samples.put(
        "it",
        "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione.");
    samples.put(
        "lt",
        "Visi žmonės gimsta laisvi ir lygūs savo orumu ir teisėmis. Jiems suteiktas protas ir sąžinė.");
    samples.put("lv", "Visi cilvēki piedzimst brīvi un vienlīdzīgi savā pašcieņā un tiesībās.");
    samples.put(
        "nl",
        "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd met verstand.");
    samples.put(
        "pl", "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.");
    samples.put(
        "pt",
        "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão.");
    samples.put(
        "ro",
        "Toate ființele umane se nasc libere și egale în demnitate și în drepturi. Ele sunt înzestrate cu rațiune.");
    samples.put(
        "sk", "Všetci ľudia sa rodia slobodní a sebe rovní, čo sa týka ich dôstojnosti a práv.");
    samples.put(
        "sl", "Vsi ljudje se rodijo svobodni in imajo enako dostojanstvo in enake pravice.");
    samples.put(
        "sv",
        "Alla människor är födda fria och lika i värde och rättigheter. De är utrustade med förnuft.");
    return samples;
  }

  @Test
  void namesEveryLanguageOfEuroparlByTwoLetters() {
    LanguageDetector detector = new LanguageDetector(EuroparlCorpus.LANGUAGES);
    Map<String, String> samples = samples();
    assertThat(samples.keySet()).containsExactlyElementsOf(EuroparlCorpus.LANGUAGES);
    samples.forEach(
        (language, text) -> assertThat(detector.languageOf(text)).as(text).isEqualTo(language));
  }

  @Test
  void choosesAmongTheGivenLanguagesOnly() {
    LanguageDetector detector = new LanguageDetector(List.of("en", "de"));
    assertThat(detector.languageOf(samples().get("nl"))).isIn("en", "de");
  }

  @Test
  void anUnknownLanguageIsRefused() {
    assertThatThrownBy(() -> new LanguageDetector(List.of("en", "klingon")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("language \"klingon\" is not one that can be detected");
  }
}
